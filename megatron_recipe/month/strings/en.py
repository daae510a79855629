"""English."""

EVIDENCE = {
    "doctor": "{checks} checks: {ok} ok, {warn} warnings, {fail} failed; device {device}",
    "checklist": "{checks} lines before the start: {ok} ok, {warn} warnings, {fail} failed",
    "plan": "{recipe}, {parameters:,.0f}M parameters, {tokens:,.1f}B tokens on {gpus} × {card}: {days:.2f} days, "
    "{memory:.0f} GB, CNY {cny:,.0f} at {platform}'s price",
    "tensorboard": "{files} event files, the newest {kb:,.0f} kB",
    "wandb": "run {id}, {offline} parts kept offline",
    "gpu_readings": "median utilisation {utilisation:.0f} %, {watts:.0f} W, at most {celsius:.0f} °C and "
    "{memory:.1f} GB "
    "({records} records)",
    "download": "{dataset} {subset}: {files} files, {mb:,.1f} MB, {tokens:,.1f}M tokens; {downloads} downloads",
    "statistics": "{documents:,.0f} documents, {mb:,.1f} MB, {characters:,.0f} characters each on average",
    "languages": "{languages} languages; by documents / bytes: {mix}",
    "lengths": "characters a document: 5 % below {p5:,.0f}, half below {p50:,.0f}, 5 % above {p95:,.0f}; {bars} bars",
    "before_after": "{before:,.0f} → {after:,.0f} documents, {mb_before:,.1f} → {mb_after:,.1f} MB; {holds} of "
    "{checks} "
    "sums add up",
    "dataset": "{kept:,} of {read:,} documents kept, {tokens:,.2f}M training tokens, vocabulary {vocabulary:,}, "
    "{bytes_per_token:.2f} bytes a token",
    "duplicates_exact": "{removed:,} exact duplicates removed of {read:,} documents ({share:.2%})",
    "duplicates_near": "{removed:,} near duplicates removed of {read:,} documents ({share:.2%}), Jaccard "
    "{threshold} and "
    "above",
    "methods": "recall of planted copies: exact {exact_recall:.1%}, MinHash {minhash_recall:.1%}, SimHash "
    "{simhash_recall:.1%}; precision {exact_precision:.1%}, {minhash_precision:.1%}, {simhash_precision:.1%}",
    "tokenizers": "{tokenizers} compared, {lossy} lose text; cheapest: {best} with {bytes_per_token:.2f} bytes a "
    "token "
    "({by_source}), {gflop_per_byte:.2f} against {worst_gflop:.2f} · 10⁹ FLOP a byte",
    "page": "the page, {kb:,.0f} kB",
    "run_ended": "{parameters:,.2f}M parameters on {device}: {steps:,} steps, {tokens:,.2f}M tokens, training loss "
    "{first:.2f} → {last:.2f}, held-out {held_out:.3f}, {hours:.2f} h",
    "first_steps": "first {steps:,} steps: loss {first:.2f} → {last:.2f} in {minutes:.1f} min, {accidents} accidents",
    "resumed": "{run} was {why} and went on at step {step:,}: loss {before:.3f} (step {before_step:,}) before, "
    "{after:.3f} "
    "(step {after_step:,}) after",
    "checkpoints": "{count} whole checkpoints (steps {steps}); {saves} saves, {seconds:.2f} s each",
    "logs": "{metrics:,} records with {fields} fields, {events:,} events, {boards} TensorBoard files",
    "diagnosis": "{times} diagnoses, {healthy} healthy; at step {step:,}: {wrong} wrong, {attention} to look at, of "
    "{checks} checks",
    "speed": "{tokens_per_second:,.0f} tokens/s on {world_size} × {device}, MFU {mfu:.1%} full, {mfu_causal:.1%} "
    "causal",
    "speed_without_mfu": "{tokens_per_second:,.0f} tokens/s on {device}, slowest {slowest:,.0f}; MFU not measured: "
    "this "
    "device's peak is not in the table",
    "spike": "{quantity} jumped at step {step:,} to {value:.2f} from a median of {median:.2f} ({deviations:.0f} "
    "deviations); {jumps} jumps in all",
    "spike_skipped": "{quantity} jumped at step {step:,} to {value:.2f} from a median of {median:.2f} "
    "({deviations:.0f} "
    "deviations); the update was left out, loss {after:.2f} at step {after_step:,}; {jumps} jumps in all",
    "spike_rolled_back": "{quantity} jumped at step {step:,} to {value:.2f} from a median of {median:.2f} "
    "({deviations:.0f} "
    "deviations); back to step {to_step:,}, {skipped:,} samples left out, loss {after:.2f} at step {after_step:,}; "
    "{jumps} jumps in all",
    "feeding": "{tokens:,.2f}M tokens for {parameters:,.2f}M parameters: {ratio:.2f} a parameter ({verdict} 20, which "
    "are {wanted:,.1f}M), loss {loss:.2f}",
    "bill": "{hours:.2f} h in {starts} starts, {currency} {money:,.2f}, {per_billion:,.2f} for a billion tokens",
    "bill_without_price": "{hours:.2f} h in {starts} starts; no price was given (--price)",
    "exported": "step {step:,}, {mb:,.1f} MB: logits differ by {difference:.1e} at most over {tokens:,} tokens, "
    "same top "
    "token on {agreement:.1%}",
    "perplexity": "{name}: loss {loss:.3f} ({low:.3f} to {high:.3f}), unigram {unigram:.3f}, perplexity "
    "{perplexity:.1f}, "
    "{bits_per_byte:.3f} bits per byte on {tokens:,.2f}M tokens",
    "samples": "{samples} continuations of {prompts} prompts, up to {longest:,} characters",
    "benchmark": "{name}: {score:.1%} ± {error:.1%}, chance {chance:.0%}, {questions:,} of {of:,} questions: {verdict}",
    "comparison": "{settings} settings, {runs} runs on {seeds} seeds of {tokens:,.2f}M tokens; {conclusion}",
    "incident": "{name}: {verdict}; held-out loss {incident:.3f}, control {control:.3f}, remedy {remedy:.3f} "
    "({recovered}); "
    "diagnose says: {check}",
    "incident_records": "{records} records: {names}",
    "incident_summary": "the summary of {incidents} incidents, {seen} of them seen",
    "retrospective": "{written} of {places} places hold your words, {characters:,} characters",
    "story": "{stories} stories, {characters:,} characters",
    "quiz": "{questions} questions, {answered} with your own answer",
}
WANTED = {
    "doctor": "notes/doctor.json",
    "checklist": "notes/checklist.json",
    "plan": "a plan of that size in notes/*.json",
    "tensorboard": "event files in runs/*/tensorboard",
    "wandb": "runs/*/wandb_run.json",
    "gpu_readings": "records of a run on a GPU",
    "download": "a complete download in corpora/*",
    "statistics": "a data report in notes/*.json",
    "languages": "a data report in notes/*.json",
    "lengths": "a data report in notes/*.json",
    "before_after": "a report on the dataset in notes/*.json",
    "dataset": "{dataset}/manifest.json",
    "duplicates": "{dataset}/manifest.json",
    "methods": "the table of benchmarks/dedup.py in notes/*.txt",
    "tokenizers": "results.json of a study of two tokenizers or more",
    "page": "report.html ({argument})",
    "run_ended": "runs/{name}, trained to its end, of the size of the plan",
    "first_steps": "records of the first 1,000 steps in runs/{name}",
    "resumed": "a resume in runs/{name}/events.jsonl, with steps after it",
    "checkpoints": "three whole checkpoints in runs/{name}",
    "logs": "metrics and events in runs/{name}",
    "diagnosis": "a diagnosis of runs/{name} in notes/*.json",
    "exported": "exports/{name} with its proof",
    "perplexity": "runs/{name}/eval/perplexity.json",
    "samples": "runs/{name}/eval/samples.json",
    "benchmark": "{argument} in eval/harness.json of exports/{big}",
    "evaluation_report": "runs/{name}/report.html, newer than its evaluation",
    "retrospective": "runs/{name}/retrospective.md",
    "story": "your words in runs/{name}/retrospective.md",
    "quiz": "quiz.md",
    "incident": "incidents/{argument} with a verdict",
    "incident_records": "six files incidents/*/record.md",
    "incident_summary": "the summary in incidents/",
    "comparison": "comparisons/{argument} with all its runs",
}
VALUES = {
    "above": "above",
    "below": "below",
    "not_above": "not distinguishable from chance",
    "seen": "seen",
    "not seen": "not seen at this scale",
    "recovered": "recovered",
    "not_recovered": "not recovered",
    "killed": "killed",
    "failed": "stopped by an error",
    "stop": "stopped",
    "SIGTERM": "stopped by SIGTERM",
    "SIGINT": "stopped by Ctrl-C",
    "loss": "the loss",
    "grad_norm": "the gradient norm",
}
LEDGER = {
    "day": "Day {day} of {days}",
    "before": "The plan begins in {days} days",
    "over": "The {days} days are over",
    "calendar": "by the calendar week {week}",
    "done": "{done} of {all} done",
    "week": "Week {week}: {title}",
    "today": "Today: {title}  [{id}]",
    "deliverable": "deliverable",
    "why": "why",
    "type": "type",
    "on": "on {platform}",
    "see": "you see",
    "takes": "takes",
    "minutes": "{minutes:.0f} min",
    "hours": "{hours:.1f} h",
    "days_of": "{days:.1f} days",
    "gpu": ", {hours:g} GPU hours on one H100",
    "cost": ", about {currency} {money:,.0f} at {price:g}/h",
    "no_price": " (--price 14.5 says what that costs)",
    "proof": "proof",
    "missing": "still missing: {evidence}",
    "only_said": "it leaves no file; when it is so: megatron-recipe today --done {id}",
    "also_said": "and when it is so: megatron-recipe today --done {id}",
    "needs_gpu": "needs a GPU",
    "word": 'your word of {day}: "{said}"',
    "all_done": "Everything is done. Now: megatron-recipe today --quiz",
    "next": "Next",
    "found": "Found so far",
    "figures": "Figures of your runs",
    "weeks": "Weeks",
    "left": "Left",
    "time_left": "{days} days, until {ends}",
    "money_left": "{left:,.2f} of {budget:,.2f} {currency}; {runs} runs have cost {spent:,.2f} in {hours:.1f} h",
    "not_priced": "{hours:.1f} h of it without a price, not counted",
    "other_currency": "besides {money:,.2f} {currency}, not converted",
    "rented": "idle time of a rented machine is in no run: look at the platform's bill",
    "plan_needs": "what is open needs about {hours:.0f} GPU hours",
    "problems": "Could not be read, and is no evidence",
    "behind": "{count} tasks were due before today",
    "began": "{path}: begun",
    "quiz.written": "{path}: {count} questions with model answers, and room for yours. First without looking:",
    "quiz.none": "nothing to ask yet: no run has figures; begin with: megatron-recipe today",
    "state.done": "done",
    "state.open": "open",
}
