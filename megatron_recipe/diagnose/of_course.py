"""Checks of the course of a run: loss, gradient norm, size of the updates, learning rate."""

import math

from megatron_recipe.diagnose.criterion import NOT_MEASURED, Criterion, Evidence, Finding, state_of
from megatron_recipe.diagnose.schedule import planned_rate
from megatron_recipe.diagnose.signals import ENOUGH, USUAL_WARMUP, Signals

EXPLODED_NATS, EXPLODED_SHARE, EXPLODED_DEVIATIONS = 0.5, 0.08, 4.0
FALLEN_PART, FALLEN_STEPS = 0.85, 80
JITTER_NATS, SMALL_BATCH_TOKENS = 0.15, 32_768
GRADIENT_RATIO = 10.0
ALWAYS_CLIPPED = 0.9
LARGE_UPDATE, SLOW_UPDATE, SMALL_UPDATE, TINY_UPDATE = 0.2, 2e-3, 3e-4, 5e-5
RATE_ERROR, RATE_RECORDS = 0.05, 3
EARLY_SHARE, EARLY_RISE_NATS, EARLY_UPDATE = 0.25, 0.3, 0.1
APART_NATS, RISEN_NATS = 0.5, 0.05


def not_a_number(signals: Signals) -> Finding:
    """Loss or gradient was no number; wrong where the run ends so, or ended because of it."""
    records = [
        record["step"]
        for record in signals.facts.train
        if any(not math.isfinite(record.get(name) or 0.0) for name in ("loss", "loss_max"))
    ]
    spikes = [event for event in signals.events("spike") if event.get("quantity") == "nan"]
    if not signals.facts.train:
        return NOT_MEASURED
    if not (records or spikes):
        return Finding("ok")
    steps = sorted({*records, *(event.get("step", 0) for event in spikes)})
    seen = Evidence("loss, grad_norm", "nan", "finite", steps[0], steps[-1])
    is_late = steps[-1] >= signals.facts.train[-ENOUGH:][0]["step"] or signals.last_life == "failed"
    return Finding(state_of(is_late, True), (seen, Evidence("spike (nan)", len(steps), "0")))


def loss_explodes(signals: Signals) -> Finding:
    """The loss stands far above its lowest, or above where it began."""
    raw = signals.loss()
    loss = raw.smoothed()
    if len(loss) < ENOUGH:
        return NOT_MEASURED
    late, lowest = loss.late(), min(loss.values)
    limit = lowest + max(EXPLODED_NATS, EXPLODED_SHARE * lowest, EXPLODED_DEVIATIONS * raw.after(signals.settled).noise)
    where = loss.steps[loss.values.index(lowest)]
    seen = (
        Evidence("loss", late.median, f"≤ {limit:.3g}", *late.span),
        Evidence("lowest loss", lowest, "", where, where),
    )
    return Finding(state_of(late.median > limit), seen)


def loss_does_not_fall(signals: Signals) -> Finding:
    """After the warm-up and some steps more, the loss is still near that of guessing."""
    loss, words = signals.loss().smoothed(3), signals.vocabulary
    if signals.from_weights or not words or len(loss) < ENOUGH or signals.step < signals.warmup_steps + FALLEN_STEPS:
        return NOT_MEASURED
    late, limit = loss.late(), FALLEN_PART * math.log(words)
    seen = Evidence("loss", late.median, f"≤ {limit:.3g} = {FALLEN_PART:.2f} ln({words:,})", *late.span)
    return Finding(state_of(late.median > limit), (seen,))


def loss_oscillates(signals: Signals) -> Finding:
    """The loss jumps from step to step more than its batch explains."""
    jitter = signals.points("loss_jitter").after(signals.settled)
    if len(jitter) < ENOUGH:
        return NOT_MEASURED
    seen = Evidence("loss_jitter", jitter.median, f"≤ {JITTER_NATS}", *jitter.span)
    small = signals.tokens_per_step < SMALL_BATCH_TOKENS
    return Finding(state_of(jitter.median > JITTER_NATS and not small), (seen,))


def batch_too_small(signals: Signals) -> Finding:
    """The loss jumps from step to step, and the batch is small."""
    jitter = signals.points("loss_jitter").after(signals.settled)
    if len(jitter) < ENOUGH:
        return NOT_MEASURED
    tokens = signals.tokens_per_step
    small = tokens < SMALL_BATCH_TOKENS
    seen = [
        Evidence("loss_jitter", jitter.median, f"≤ {JITTER_NATS}", *jitter.span),
        Evidence("tokens per step", tokens, f"≥ {SMALL_BATCH_TOKENS:,}"),
    ]
    clipped = signals.points("clipped_share").after(signals.settled)
    if len(clipped):
        seen.append(Evidence("clipped_share", clipped.median, "", *clipped.span))
    return Finding(state_of(small and jitter.median > JITTER_NATS), tuple(seen))


def gradient_explodes(signals: Signals) -> Finding:
    """The gradient norm is far above what it was."""
    norms = signals.points("grad_norm_max", "grad_norm").after(signals.settled)
    if len(norms) < 2 * ENOUGH:
        return NOT_MEASURED
    limit = GRADIENT_RATIO * norms.median
    smooth = norms.smoothed(3)
    top = max(smooth.values)
    where = smooth.steps[smooth.values.index(top)]
    late = norms.late()
    before = norms.part(0, len(norms) // 2).median
    is_late = late.median > GRADIENT_RATIO * before
    seen = (
        Evidence("grad_norm", top, f"≤ {limit:.3g} = {GRADIENT_RATIO:g} × median", where, where),
        Evidence("grad_norm", late.median, f"≤ {GRADIENT_RATIO * before:.3g}", *late.span),
    )
    return Finding(state_of(is_late, top > limit), seen)


def always_clipped(signals: Signals) -> Finding:
    """Nearly every step's gradient is cut, long after the start."""
    clipped = signals.points("clipped_share").after(signals.settled)
    if len(clipped) < 2 * ENOUGH:
        return NOT_MEASURED
    late = clipped.late()
    seen = Evidence("clipped_share", late.median, f"< {ALWAYS_CLIPPED}", *late.span)
    return Finding(state_of(False, late.median >= ALWAYS_CLIPPED), (seen,))


def no_clipping(signals: Signals) -> Finding:
    """Gradients are not clipped; wrong where one was far above the usual."""
    limit = signals.setting("optimizer", "clip_grad_norm", 1.0)
    seen = [Evidence("optimizer.clip_grad_norm", limit, "> 0")]
    if limit > 0:
        return Finding("ok", tuple(seen))
    norms = signals.points("grad_norm_max", "grad_norm").after(signals.settled)
    jumped = False
    if len(norms) >= ENOUGH:
        top = max(norms.values)
        where = norms.steps[norms.values.index(top)]
        jumped = top > GRADIENT_RATIO * norms.median
        seen.append(Evidence("grad_norm_max", top, f"≤ {GRADIENT_RATIO * norms.median:.3g}", where, where))
    return Finding(state_of(jumped, True), tuple(seen))


def update_too_large(signals: Signals) -> Finding:
    """A step changes the matrices by more than a fifth of their size."""
    ratio = signals.points("update_ratio")
    if not len(ratio):
        return NOT_MEASURED
    top = max(ratio.values)
    where = ratio.steps[ratio.values.index(top)]
    seen = [Evidence("update_ratio", top, f"≤ {LARGE_UPDATE}", where, where)]
    rate = signals.setting("schedule", "peak_learning_rate")
    if rate is not None:
        seen.append(Evidence("schedule.peak_learning_rate", rate))
    return Finding(state_of(top > LARGE_UPDATE), tuple(seen))


def sgd_does_not_learn(signals: Signals) -> Finding:
    """SGD takes one step size for all weights, which transformers bear badly; wrong where the loss shows it."""
    kind = str(signals.setting("optimizer", "kind", "adamw"))
    seen = (Evidence("optimizer.kind", kind, "adamw or muon"), *loss_does_not_fall(signals).evidence)
    falls = loss_does_not_fall(signals).state != "wrong"
    return Finding(state_of(kind == "sgd" and not falls, kind == "sgd"), seen)


def update_too_small(signals: Signals) -> Finding:
    """In the middle of the run a step changes the matrices by next to nothing."""
    ratio = signals.points("update_ratio").after(signals.settled)
    if len(ratio) < ENOUGH:
        return NOT_MEASURED
    middle = ratio.part(0, max(ENOUGH, len(ratio) // 2))
    falls = loss_does_not_fall(signals).state != "wrong"
    seen = (
        Evidence("update_ratio", middle.median, f"≥ {SMALL_UPDATE if falls else SLOW_UPDATE:g}", *middle.span),
        Evidence("optimizer.kind", str(signals.setting("optimizer", "kind", "adamw"))),
    )
    tiny = middle.median < TINY_UPDATE or (middle.median < SLOW_UPDATE and not falls)
    return Finding(state_of(tiny, middle.median < SMALL_UPDATE), seen)


def rate_not_as_planned(signals: Signals) -> Finding:
    """The learning rate is not the one that the configuration lays out."""
    off, known = [], 0
    for record in signals.facts.train:
        planned = planned_rate(signals.facts.config, record.get("samples", 0))
        if planned is None or record.get("learning_rate") is None:
            continue
        known += 1
        if abs(record["learning_rate"] - planned) > RATE_ERROR * max(planned, 1e-12):
            off.append((record, planned))
    if not known:
        return NOT_MEASURED
    if not off:
        return Finding("ok", (Evidence("records as planned", known),))
    record, planned = max(off, key=lambda one: abs(one[0]["learning_rate"] - one[1]))
    seen = (
        Evidence("learning_rate", record["learning_rate"], f"{planned:.4g} ± 5 %", record["step"], record["step"]),
        Evidence("records off the schedule", len(off), "0", off[0][0]["step"], off[-1][0]["step"]),
    )
    return Finding(state_of(len(off) >= RATE_RECORDS, True), seen)


def warmup_missing(signals: Signals) -> Finding:
    """The learning rate begins at its peak; wrong where the first part of the run shows it."""
    seen = [Evidence("schedule.warmup_fraction", signals.setting("schedule", "warmup_fraction", USUAL_WARMUP), "> 0")]
    if signals.warmup_steps >= 1:
        return Finding("ok", tuple(seen))
    early = [record for record in signals.facts.train if record["step"] <= EARLY_SHARE * signals.step]
    ratio = max((record.get("update_ratio") or 0.0 for record in early), default=0.0)
    began = next((record["initial_loss"] for record in early if "initial_loss" in record), None)
    highest = max((record.get("loss_max") or record["loss"] for record in early), default=0.0)
    rose = began is not None and highest > began + EARLY_RISE_NATS
    if ratio:
        seen.append(Evidence("update_ratio", ratio, f"≤ {EARLY_UPDATE}", early[0]["step"], early[-1]["step"]))
    if began is not None:
        limit = f"≤ {began + EARLY_RISE_NATS:.3g}"
        seen.append(Evidence("loss_max", highest, limit, early[0]["step"], early[-1]["step"]))
    is_harmful = not signals.from_weights and (rose or ratio > EARLY_UPDATE)
    return Finding(state_of(is_harmful, not signals.from_weights), tuple(seen))


def validation_diverges(signals: Signals) -> Finding:
    """The held-out loss rises or stands far above the training loss, which goes on falling."""
    held_out = [record for record in signals.facts.validation if math.isfinite(record["loss"])]
    loss = signals.loss()
    if len(held_out) < 2 or len(loss) < ENOUGH:
        return NOT_MEASURED
    last, best = held_out[-1], min(record["loss"] for record in held_out)
    near = loss.late().median
    seen = (
        Evidence("validation loss", last["loss"], f"≤ {near + APART_NATS:.3g}", last["step"], last["step"]),
        Evidence("best validation loss", best),
        Evidence("loss", near, "", *loss.late().span),
    )
    falls = near < loss.part(0, len(loss) // 2).late().median
    risen = len(held_out) >= 3 and last["loss"] > best + RISEN_NATS and falls and last["loss"] > near + RISEN_NATS
    return Finding(state_of(risen or last["loss"] > near + 2 * APART_NATS, last["loss"] > near + APART_NATS), seen)


COURSE = (
    Criterion("rate_not_as_planned", "training", 90, rate_not_as_planned),
    Criterion("warmup_missing", "training", 80, warmup_missing),
    Criterion("batch_too_small", "training", 78, batch_too_small),
    Criterion("no_clipping", "training", 76, no_clipping),
    Criterion("update_too_large", "training", 74, update_too_large),
    Criterion("sgd_does_not_learn", "training", 73, sgd_does_not_learn),
    Criterion("update_too_small", "training", 72, update_too_small),
    Criterion("not_a_number", "training", 50, not_a_number),
    Criterion("loss_explodes", "training", 48, loss_explodes),
    Criterion("gradient_explodes", "training", 46, gradient_explodes),
    Criterion("loss_does_not_fall", "training", 44, loss_does_not_fall),
    Criterion("validation_diverges", "training", 43, validation_diverges),
    Criterion("loss_oscillates", "training", 42, loss_oscillates),
    Criterion("always_clipped", "training", 20, always_clipped),
)
