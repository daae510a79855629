"""English words of the checks of training, data and model."""

from megatron_recipe.diagnose.strings.words import CheckWords

TRAINING = {
    "rate_not_as_planned": CheckWords(
        "Learning rate not as planned",
        "The recorded learning rate is another than config.yaml lays out.",
        "More than {RATE_ERROR:.0%} off in {RATE_RECORDS} records or more",
        "A changed length or batch of a continued run; code that sets the rate; a schedule counted in other units",
        "Plot learning_rate beside the plan; compare config.yaml with that of the checkpoint",
        "Give the run the schedule it was laid out for; a new length is a new run",
    ),
    "warmup_missing": CheckWords(
        "No warm-up",
        "The first steps have the full learning rate, while AdamW's averages are still of few gradients.",
        "schedule.warmup_fraction gives no step; wrong where an early update_ratio is above {EARLY_UPDATE:g} or the "
        "loss rises by {EARLY_RISE_NATS:g}",
        "warmup_fraction=0, or so small that it rounds to no step",
        "loss_max, grad_norm_max and update_ratio of the first quarter",
        "schedule.warmup_fraction=0.02 or more (100 to 2,000 steps)",
    ),
    "batch_too_small": CheckWords(
        "Batch too small",
        "The loss jumps from step to step: a step's gradient is mostly noise.",
        "Median loss_jitter above {JITTER_NATS:g} nats with less than {SMALL_BATCH_TOKENS:,.0f} tokens a step",
        "global_batch_size_samples too small; short sequences; accumulation left out",
        "loss_jitter and clipped_share against a run with four times the batch",
        "Raise batch.global_batch_size_samples (accumulation costs no memory), or lower the learning rate by the root "
        "of the ratio",
    ),
    "no_clipping": CheckWords(
        "No gradient clipping",
        "One bad batch moves the weights as far as its gradient is large.",
        "optimizer.clip_grad_norm=0; wrong where a norm was above {GRADIENT_RATIO:g} × the median",
        "Clipping switched off",
        "grad_norm_max of the intervals; which samples: data who RUN --step",
        "optimizer.clip_grad_norm=1.0",
    ),
    "update_too_large": CheckWords(
        "Learning rate too high",
        "A step changes the matrices by a large part of their size; activations and attention logits grow with it.",
        "update_ratio above {LARGE_UPDATE:g} in any record",
        "Learning rate ten times too high; no warm-up; a small init_std",
        "update_ratio (usual: 0.001 to 0.1), attention_logit_max, activation_rms_last; lab compare learning_rate",
        "Lower schedule.peak_learning_rate to a third or a tenth; lengthen the warm-up",
    ),
    "sgd_does_not_learn": CheckWords(
        "SGD instead of AdamW",
        "The loss falls slowly or not at all, with gradients that look healthy.",
        "optimizer.kind=sgd; wrong where the loss does not fall",
        "One step size for weights whose gradients differ by orders of magnitude",
        "grad_norm and update_ratio by kind of layer",
        "optimizer.kind=adamw, with its own learning rate",
    ),
    "update_too_small": CheckWords(
        "Learning rate too low",
        "The weights hardly move; the loss falls slowly and smoothly.",
        "Median update_ratio in the first half after the warm-up below {SMALL_UPDATE:g}; wrong below {TINY_UPDATE:g}, "
        "and below {SLOW_UPDATE:g} where the loss does not fall",
        "Learning rate too low; a wrong unit; clipping far below the usual norm; SGD with AdamW's rate",
        "update_ratio, clipped_share, learning_rate",
        "Raise schedule.peak_learning_rate by 3 to 10 times; find it with lab compare learning_rate",
    ),
    "not_a_number": CheckWords(
        "Not a number",
        "Loss or gradient is NaN or infinite.",
        "Any such record or event; wrong where the run ends so",
        "Learning rate too high; FP16 overflow; exploding attention logits; damaged data or memory",
        "The step before: attention_logit_max, activation_rms_last, grad_norm_max; gpu_ecc_errors",
        "stability.on_nan=rollback; BF16 for FP16; model.qk_norm=true; a lower learning rate",
    ),
    "loss_explodes": CheckWords(
        "Loss explodes",
        "The loss rises and does not come back.",
        "Median at the end above the lowest running median by {EXPLODED_NATS:g} nats, {EXPLODED_SHARE:.0%}, and "
        "{EXPLODED_DEVIATIONS:g} × the noise of its records",
        "Learning rate too high; no clipping; no warm-up; exploding attention logits; half precision",
        "Which grew first: update_ratio, grad_norm_max, attention_logit_max or activation_rms_last",
        "Go back to a checkpoint before the rise with a lower learning rate, clipping and warm-up",
    ),
    "gradient_explodes": CheckWords(
        "Gradient norm explodes",
        "The gradient norm is many times what it was.",
        "Running median above {GRADIENT_RATIO:g} × the run's; wrong where the end is above {GRADIENT_RATIO:g} × the "
        "first half",
        "Learning rate too high; bad data; a layer that diverges",
        "layer_grad_norms: which layer; grad_norm by kind; the samples of the step (data who)",
        "optimizer.clip_grad_norm=1.0, a lower learning rate, model.qk_norm=true",
    ),
    "loss_does_not_fall": CheckWords(
        "Loss does not fall",
        "The loss stays near ln(vocabulary), that of guessing.",
        "Median at the end above {FALLEN_PART:.2f} × ln(vocabulary), {FALLEN_STEPS:.0f} steps after the warm-up",
        "Learning rate far too high or too low; SGD; labels that don't fit the tokens; zero gradients",
        "update_ratio, zero_grad_share, learning_rate; read some samples (data who)",
        "Find the learning rate (lab compare learning_rate); check the dataset (data verify)",
    ),
    "validation_diverges": CheckWords(
        "Held-out loss leaves the training loss",
        "The held-out loss rises while the training loss falls, or stands far above it.",
        "Above its best by {RISEN_NATS:g} while training falls, or above the training loss by {APART_NATS:g} "
        "(wrong: twice that)",
        "Too many epochs of little text; held-out text of another kind; training text that leaks",
        "Epochs; validation losses of the named sets",
        "More text, fewer epochs, a smaller model; keep the best checkpoint (checkpoint.keep_best)",
    ),
    "loss_oscillates": CheckWords(
        "Loss oscillates",
        "The loss jumps from step to step although the batch is large.",
        "Median loss_jitter above {JITTER_NATS:g} nats with {SMALL_BATCH_TOKENS:,.0f} tokens a step or more",
        "Learning rate too high; beta2 too high after spikes; kinds of text that come in blocks",
        "update_ratio; whether neighbouring batches are of one source",
        "Lower the learning rate; shuffle; optimizer.beta2=0.95",
    ),
    "always_clipped": CheckWords(
        "Every gradient is clipped",
        "Clipping sets the step size, not the learning rate.",
        "Median clipped_share at the end {ALWAYS_CLIPPED:g} or more",
        "A limit below the usual norm; a small batch; a wide initialisation",
        "grad_norm against optimizer.clip_grad_norm",
        "Raise the batch or the limit, or lower the learning rate",
    ),
}
DATA = {
    "data_stretch": CheckWords(
        "Bad stretch of data",
        "The loss jumps at one place and comes back.",
        "loss_max above the median before by {SPIKE_JITTERS:g} × loss_jitter and {SPIKE_NATS:g} nats, and back within "
        "{RECOVERY_RECORDS:.0f} records, or spike events; wrong where the weights took it or the run ended",
        "Broken or foreign text; repeated characters; one source in a block; or no data: a learning rate at its limit",
        "data who RUN --step STEP names the documents; clean ones: does another seed, or a lower rate, jump there?",
        "Skip it (train --skip-samples FIRST:STOP, stability.on_loss_spike=rollback); filter it; clip gradients",
    ),
    "vocabulary_mismatch": CheckWords(
        "Tokenizer and weights don't fit",
        "Trained weights begin as bad as random ones, or the vocabulary has another size than the tokenizer.",
        "With train.init_from: initial_loss above {KNOWN_SHARE:g} × ln(vocabulary); or {UNUSED_ROWS:.0f} rows more "
        "than tokens",
        "A dataset made with another tokenizer; ids in another order; a wrong model.vocab_size",
        "tokenizer.sha256 in manifest.json of both datasets",
        "Prepare the data with the tokenizer of the weights",
    ),
    "data_not_shuffled": CheckWords(
        "Data not shuffled, or repeated in place",
        "The loss moves in blocks: alike within a record, different from record to record.",
        "Variance between records above {ORDER_RATIO:g} × that expected from loss_jitter, and {ORDER_NATS:g} nats",
        "Documents sorted by source or length; a shuffle left out; the same batch again and again",
        "data who RUN for neighbouring steps: are their sources mixed?",
        "Shuffle documents before they are packed; mix sources by weights",
    ),
    "data_repeats": CheckWords(
        "Many epochs",
        "The same text is read many times.",
        "More than {EPOCHS:g} epochs",
        "A small dataset for the length of the run",
        "Held-out loss: does it still fall?",
        "More text or fewer steps; beyond 4 epochs repeated text is worth little (Muennighoff et al. 2023)",
    ),
}
MODEL = {
    "initial_loss": CheckWords(
        "Loss begins at the wrong place",
        "The first loss is far from ln(vocabulary).",
        "Above ln(vocabulary) + {ABOVE_NATS:g} + hidden_size × init_std² / 2 (at most {WIDTH_NATS:g}), or below "
        "ln(vocabulary) - {BELOW_NATS:g}",
        "Bad initialisation (above); labels visible to the model (below)",
        "model.init_std; logit_max of the first record",
        "model.init_std=0.02; check the causal mask and the labels",
    ),
    "loss_scale": CheckWords(
        "FP16 loss scale collapses",
        "The scale is halved again and again, and small gradients become 0.",
        "Median at the end at most {SCALE_FLOOR:g}, or {SCALE_FALL:g} × below its highest",
        "Activations or gradients beyond 65,504; learning rate too high; FP16 where BF16 would do",
        "activation_rms_last, zero_grad_share, update_skipped events",
        "precision.dtype=bf16; a lower learning rate; model.qk_norm=true",
    ),
    "attention_logits": CheckWords(
        "Attention logits explode",
        "Softmax puts all weight on one position and passes no gradient.",
        "Median attention_logit_max at the end above {ATTENTION_WATCHED:g} × √head_dim (wrong: {ATTENTION_LIMIT:g} ×): "
        "283 for heads of 128, of which healthy runs of gpt_100m reach 190",
        "Growing query and key weights; learning rate too high; no QK norm",
        "layer_attention_logits: which layer; update_ratio_attention",
        "model.qk_norm=true; a lower learning rate; more weight decay",
    ),
    "norms_decayed": CheckWords(
        "Weight decay on norms",
        "The norms' weights shrink towards 0.",
        "weight_rms_norms fell by more than {DECAY_SHARE:.0%} of what weight decay alone would do",
        "Weight decay reaches parameters that it should leave out",
        "weight_rms_norms over the run; the optimizer's parameter groups",
        "No weight decay on norms and biases",
    ),
    "zero_gradients": CheckWords(
        "Zero gradients",
        "Many gradients inside the layers are exactly 0.",
        "Median zero_grad_share at the end above {ZERO_WATCHED:g} (wrong: {ZERO_LIMIT:g})",
        "FP16 underflow without loss scaling; a part of the model that is cut off; dead units",
        "layer_grad_norms; loss_scale; precision.dtype",
        "BF16, or FP16 with loss scaling; check what was frozen",
    ),
    "activations": CheckWords(
        "Activations explode",
        "The residual stream grows without bound.",
        "Median activation_rms_last at the end above {ACTIVATION_WATCHED:g} (wrong: {ACTIVATION_LIMIT:g})",
        "Learning rate too high; no weight decay; wide initialisation",
        "layer_activation_rms: where it begins; update_ratio",
        "A lower learning rate; weight decay 0.1; output projections scaled by 1/√(2 × layers)",
    ),
    "output_logits": CheckWords(
        "Output logits drift",
        "Logits over the vocabulary grow large.",
        "Median logit_max at the end above {LOGIT_WATCHED:g} (wrong: {LOGIT_LIMIT:g})",
        "No weight decay on the output layer; learning rate too high late in the run",
        "logit_max over the run",
        "Weight decay; a z-loss; a lower final learning rate",
    ),
}
WORDS = {**TRAINING, **DATA, **MODEL}
