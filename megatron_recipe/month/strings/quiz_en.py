"""English questions: by kind of evidence, what is asked and the points of a model answer."""

QUIZ: dict[str, tuple[str, ...]] = {
    "spike": (
        "At step {step:,} {quantity} of your run jumped. Why, how do you know, what did you do?",
        "I know it from events.jsonl: {value:.2f} against a median of {median:.2f}, {deviations:.0f} robust "
        "deviations away, and {jumps} jumps in all.",
        "What follows from one jump alone is little: I look whether the loss comes back in the next records, and "
        "which documents were read (megatron-recipe data who RUN --step {step}).",
    ),
    "spike_skipped": (
        "At step {step:,} {quantity} of your run jumped. Why, how do you know, what did you do?",
        "I know it from events.jsonl: {value:.2f} against a median of {median:.2f}, {deviations:.0f} robust "
        "deviations away; {jumps} jumps in all.",
        "The update of that step was left out, and the loss was {after:.2f} at step {after_step:,}: one batch, not a "
        "divergence; a learning rate that is too high would have come back at once.",
        "Which documents it was, megatron-recipe data who RUN --step {step} shows; only that would prove the cause.",
    ),
    "spike_rolled_back": (
        "At step {step:,} {quantity} of your run jumped. Why, how do you know, what did you do?",
        "I know it from events.jsonl: {value:.2f} against a median of {median:.2f}, {deviations:.0f} robust "
        "deviations away.",
        "The run went back to the checkpoint of step {to_step:,}, left out {skipped:,} samples, and was at step "
        "{after_step:,} with a loss of {after:.2f}.",
        "The same weights passed with other samples, so the stretch of data is the suspect, not the learning rate; "
        "megatron-recipe data who shows what was in it.",
    ),
    "speed": (
        "How fast was your training, and how do you know that it was not slow?",
        "{tokens_per_second:,.0f} tokens/s on {world_size} × {device} with {parameters:,.1f}M parameters (median "
        "of the records).",
        "MFU {mfu:.1%} with full attention, {mfu_causal:.1%} with the causal half that is computed: useful "
        "operations over the card's peak. 40 to 60 % is usual for this size; tokens/s alone compares nothing.",
    ),
    "speed_without_mfu": (
        "How fast was your training, and why do you give no MFU?",
        "{tokens_per_second:,.0f} tokens/s on {device} with {parameters:,.2f}M parameters (median); the slowest "
        "record had {slowest:,.0f}.",
        "MFU is a share of the device's peak, and for this device none is in the table: no number is better than an "
        "invented one.",
    ),
    "resumed": (
        "Your run was interrupted. How do you know that nothing was lost?",
        "{run} was {why} and went on at step {step:,} (events.jsonl).",
        "Before: loss {before:.3f} at step {before_step:,}; after: {after:.3f} at step {after_step:,}. There "
        "should be no "
        "jump between them, since weights, optimizer, schedule and the position in the data were all saved.",
    ),
    "checkpoints": (
        "How many checkpoints do you keep, and what does saving cost?",
        "{count} whole ones are there (steps {steps}), of {saves} saves; one takes {seconds:.2f} s in the median.",
        "Several, because the newest may be damaged: each has checksums, and the newest that verifies is loaded.",
    ),
    "feeding": (
        "Is your model trained enough? What do you compare with?",
        "{tokens:,.2f}M tokens for {parameters:,.2f}M parameters are {ratio:.2f} tokens a parameter, loss {loss:.2f}.",
        "Hoffmann et al. (2022) found about 20 a parameter best for a given amount of computing, here "
        "{wanted:,.1f}M: this "
        "run is {verdict} that. Small models are often trained far beyond, because using them is then cheaper.",
    ),
    "bill": (
        "What did the run cost, and what would you pay for a billion tokens?",
        "{currency} {money:,.2f} for {hours:.2f} hours in {starts} starts (spending.json): {per_billion:,.2f} for "
        "a billion tokens. Hours in which the machine stood idle are not in it.",
    ),
    "perplexity": (
        "Your held-out loss is {loss:.3f}. Is that good?",
        "Alone it says nothing: it depends on the tokenizer. Counting words without context (unigram) gives "
        "{unigram:.3f} on the same text, so context is worth the difference.",
        "The interval is {low:.3f} to {high:.3f} on {tokens:,.2f}M tokens; perplexity {perplexity:.1f} is its "
        "exponent.",
        "{bits_per_byte:.3f} bits per byte is what I would compare with a model that has another tokenizer.",
    ),
    "dataset": (
        "What is your dataset, and what did you throw away?",
        "{read:,} documents read, {kept:,} kept; {tokens:,.2f}M training tokens, {bytes_per_token:.2f} bytes each, "
        "vocabulary {vocabulary:,}. The reasons are counted in manifest.json, and the sums add up.",
    ),
    "duplicates_near": (
        "How did you find near duplicates, and how many were there?",
        "{removed:,} of {read:,} documents ({share:.2%}) at a Jaccard similarity of {threshold} and above.",
        "MinHash signatures in bands propose pairs without comparing all with all; each pair is then decided by exact "
        "Jaccard of runs of 5 characters, so nothing is removed on a guess.",
    ),
    "methods": (
        "Why MinHash and not SimHash or a plain hash?",
        "On planted copies: recall {exact_recall:.1%} for exact hashes, {minhash_recall:.1%} for MinHash, "
        "{simhash_recall:.1%} for SimHash; precision {exact_precision:.1%}, {minhash_precision:.1%} and "
        "{simhash_precision:.1%}.",
        "A plain hash can't see a changed word. SimHash keeps 64 bits of a document, in which a short text moves far.",
    ),
    "tokenizers": (
        "Which tokenizer did you take, and by which number?",
        "{best} of {tokenizers}: {bytes_per_token:.2f} bytes a token ({by_source}), Rényi efficiency {renyi:.3f}.",
        "Ranked by training operations for a byte of text ({gflop_per_byte:.2f} · 10⁹, the worst "
        "{worst_gflop:.2f}), because "
        "better compression is paid for with a larger embedding. {lossy} lose text and are not ranked.",
    ),
    "exported": (
        "How do you know that the exported model is the one that you trained?",
        "Logits of both over {tokens:,} tokens differ by {difference:.1e} at most, and the top token is the same on "
        "{agreement:.1%} (export.json, step {step:,}).",
    ),
    "benchmark": (
        "What does your score on {name} say?",
        "{score:.1%} ± {error:.1%} on {questions:,} of {of:,} questions, chance is {chance:.0%}: {verdict}.",
        "Two standard errors decide; published scores beside it come from other harnesses and settings.",
    ),
    "comparison": (
        "What did your comparison {name} prove, and what not?",
        "{conclusion} That is of {settings} settings, {seeds} seeds, {runs} runs of {tokens:,.2f}M tokens each.",
        "Equal tokens, equal seeds in every setting, an interval over the seeds. It holds for this size and this "
        "length; "
        '"no difference shown" would not mean "equal".',
    ),
    "incident": (
        "{title}: what happens, how do you recognise it, what do you do?",
        "In my trial ({name}): {verdict}; held-out loss {incident:.3f} against {control:.3f} of the healthy "
        "control. The first figure of the criterion: {evidence}.",
        "Why: {cause}",
        "Remedy: {remedy_text} Its run ended at {remedy:.3f}: {recovered}.",
    ),
    "gpu_readings": (
        "How busy were your GPUs?",
        "Utilisation {utilisation:.0f} % and {watts:.0f} W in the median of {records} records, {celsius:.0f} °C and "
        "{memory:.1f} GB at most. Utilisation says that a kernel ran, power says how hard.",
    ),
    "diagnosis": (
        "How did you watch the run day by day?",
        "{times} times with megatron-recipe diagnose, {healthy} of them healthy; at step {step:,} {wrong} of "
        "{checks} checks were wrong and {attention} asked for a look.",
    ),
}
PAGE = {
    "kind": "Quiz on your own numbers",
    "title": "The month in questions",
    "lede": "Each question is made of something that was found in your folder. Answer aloud before you read on: "
    "every figure of an answer stands in the file under it, or follows from figures there.",
    "place": "How would you say it?",
    "origin": "From {file}: {evidence}",
    "footer": "megatron-recipe {version}, {time}. Written again by megatron-recipe today --quiz; your words stay.",
}
