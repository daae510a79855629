"""Checks of data and model: where the loss began, spikes at a stretch, order and repetition, what grows or vanishes."""

import math
from statistics import median

from megatron_recipe.diagnose.criterion import NOT_MEASURED, Criterion, Evidence, Finding, state_of
from megatron_recipe.diagnose.signals import ENOUGH, Points, Signals

ABOVE_NATS, WIDTH_NATS, BELOW_NATS = 0.5, 1.0, 0.5
KNOWN_SHARE = 0.95
"""Of ln(vocabulary): knowing nothing but how often each token occurs is better than that, and weights that read
another tokenizer's ids are sure of wrong ones, so that they stand above ln(vocabulary)."""
SPIKE_JITTERS, SPIKE_NATS, RECOVERY_RECORDS = 8.0, 0.4, 4
ORDER_RATIO, ORDER_NATS = 6.0, 0.05
FOUR_FIFTHS = 1.2816
"""Standard deviations within which four fifths of normal numbers lie."""
EPOCHS = 4.0
UNUSED_ROWS = 256
ATTENTION_WATCHED, ATTENTION_LIMIT = 20.0, 25.0
"""Times √head_dim: the mean square of queries and keys that point the same way. Healthy runs of gpt_100m, which has no
QK norm, reach 5 to 17 at its learning rate of 1e-3 (15 runs on an H200, 2026-11-30), with ten times that rate 380."""
HEAD_DIM = 128
LOGIT_WATCHED, LOGIT_LIMIT = 50.0, 100.0
ACTIVATION_WATCHED, ACTIVATION_LIMIT = 300.0, 1000.0
ZERO_WATCHED, ZERO_LIMIT = 0.05, 0.25
DECAY_SEEN, DECAY_SHARE = 0.2, 0.6
SCALE_FLOOR, SCALE_FALL = 1.0, 64.0


def initial_loss(signals: Signals) -> Finding:
    """The loss of random weights is ln(vocabulary), and somewhat more with wide logits."""
    words = signals.vocabulary
    first = next((record for record in signals.facts.train if record.get("initial_loss") is not None), None)
    if first is None or not words or signals.from_weights:
        return NOT_MEASURED
    width = signals.setting("model", "hidden_size", 0) * signals.setting("model", "init_std", 0.02) ** 2 / 2
    low, high = math.log(words) - BELOW_NATS, math.log(words) + ABOVE_NATS + min(width, WIDTH_NATS)
    value = first["initial_loss"]
    seen = (
        Evidence("initial_loss", value, f"{low:.3g} … {high:.3g}, ln({words:,}) = {math.log(words):.3g}", 1, 1),
        Evidence("model.init_std", signals.setting("model", "init_std", 0.02)),
    )
    return Finding(state_of(not low <= value <= high), seen)


def vocabulary_mismatch(signals: Signals) -> Finding:
    """Weights that were trained guess no better than chance, or the model has far more rows than there are tokens."""
    sizes = [(manifest.get("tokenizer") or {}).get("vocab_size") for manifest in signals.facts.manifests]
    known, words = next((size for size in sizes if size), None), signals.vocabulary
    first = next((record for record in signals.facts.train if record.get("initial_loss") is not None), None)
    seen, wrong, odd = [], False, False
    if signals.from_weights and first and words:
        limit = KNOWN_SHARE * math.log(words)
        wrong = first["initial_loss"] > limit
        seen.append(Evidence("initial_loss", first["initial_loss"], f"≤ {limit:.3g}", 1, 1))
    if known and words:
        odd = words < known or words > known + UNUSED_ROWS
        seen.append(Evidence("model.vocab_size", words, f"{known:,} (tokenizer)"))
    return Finding(state_of(wrong, odd), tuple(seen)) if seen else NOT_MEASURED


def data_stretch(signals: Signals) -> Finding:
    """The loss jumped at one place of the data and came back; wrong where the weights took it."""
    loss = signals.loss()
    if len(loss) < 2 * ENOUGH:
        return NOT_MEASURED
    events = [event for event in signals.events("spike") if event.get("quantity") == "loss"]
    jumps = _recovered_jumps(signals, loss)
    seen = [Evidence("loss_max", value, f"≤ {limit:.3g}", step, step) for step, value, limit in jumps[:3]]
    if events:
        steps = [event.get("step", 0) for event in events]
        done = ", ".join(sorted({str(event.get("action")) for event in events}))
        seen.append(Evidence("spike (loss)", len(events), f"0; {done}", min(steps), max(steps)))
    handled = any(event.get("action") in ("skip", "rollback") for event in events)
    harmed = (len(jumps) > 0 and not handled) or (bool(events) and signals.last_life == "failed")
    is_order = data_not_shuffled(signals).state == "wrong"  # then jumps are its blocks
    return Finding(state_of(harmed and not is_order, bool(events or jumps)), tuple(seen))


def _recovered_jumps(signals: Signals, loss: Points) -> list[tuple[int, float, float]]:
    """Step, highest loss and limit of jumps that were over some records later."""
    highest, jitter = signals.points("loss_max", "loss"), signals.points("loss_jitter").after(signals.settled)
    if len(highest) != len(loss) or len(jitter) < ENOUGH:
        return []
    noise, found = jitter.median, []
    for place in range(ENOUGH, len(loss) - 1):
        if loss.steps[place] <= signals.settled:
            continue
        before = median(loss.values[max(0, place - ENOUGH) : place])
        limit = before + max(SPIKE_JITTERS * noise, SPIKE_NATS)
        after = loss.values[place + 1 : place + 1 + RECOVERY_RECORDS]
        if highest.values[place] > limit and min(after) < before + max(2 * noise, SPIKE_NATS / 4):
            found.append((highest.steps[place], highest.values[place], limit))
    return found


def data_not_shuffled(signals: Signals) -> Finding:
    """The loss changes between records more than the noise within them allows: neighbouring samples are alike."""
    loss, jitter = signals.points("loss_mean").after(signals.settled), signals.points("loss_jitter")
    every = signals.setting("train", "log_every_steps", 1)
    if len(loss) < 2 * ENOUGH or every < 2 or not len(jitter):
        return NOT_MEASURED
    within = jitter.after(signals.settled).median
    # second differences: a loss that falls evenly leaves nothing
    bends = sorted(abs(a - 2 * b + c) for a, b, c in zip(loss.values, loss.values[1:], loss.values[2:], strict=False))
    # at four fifths, not the mean: one bad stretch is no wrong order
    between = bends[len(bends) * 4 // 5] / FOUR_FIFTHS / math.sqrt(6)
    expected = max(within / math.sqrt(every), 1e-6)
    ratio = (between / expected) ** 2
    seen = (
        Evidence("variance between records / within", ratio, f"≤ {ORDER_RATIO:g}", *loss.span),
        Evidence("deviation between records", between, f"≤ {ORDER_NATS}"),
    )
    return Finding(state_of(ratio > ORDER_RATIO and between > ORDER_NATS), seen)


def data_repeats(signals: Signals) -> Finding:
    """The run reads the same text many times."""
    tokens = sum(
        int(((manifest.get("splits") or {}).get("train") or {}).get("tokens") or 0)
        for manifest in signals.facts.manifests
    )
    if not tokens or not signals.facts.train:
        return NOT_MEASURED
    epochs = signals.facts.train[-1].get("tokens", 0) / tokens
    seen = Evidence("epochs", epochs, f"≤ {EPOCHS:g}", 1, signals.step)
    return Finding(state_of(False, epochs > EPOCHS), (seen,))


def _too_high(signals: Signals, metric: str, watched: float, limit: float) -> Finding:
    """Whether the running median of a field stands above a limit at the end."""
    points = signals.points(metric)
    if not len(points):
        return NOT_MEASURED
    late = points.late()
    seen = Evidence(metric, late.median, f"≤ {limit if late.median > limit else watched:g}", *late.span)
    return Finding(state_of(late.median > limit, late.median > watched), (seen,))


def attention_logits(signals: Signals) -> Finding:
    """Attention logits are so large that softmax passes no gradient."""
    width = math.sqrt(signals.setting("model", "head_dim", HEAD_DIM))
    return _too_high(signals, "attention_logit_max", ATTENTION_WATCHED * width, ATTENTION_LIMIT * width)


def output_logits(signals: Signals) -> Finding:
    """Logits over the vocabulary drift away."""
    return _too_high(signals, "logit_max", LOGIT_WATCHED, LOGIT_LIMIT)


def activations(signals: Signals) -> Finding:
    """The residual stream grows beyond what half precision bears."""
    return _too_high(signals, "activation_rms_last", ACTIVATION_WATCHED, ACTIVATION_LIMIT)


def zero_gradients(signals: Signals) -> Finding:
    """Many gradients inside the layers are exactly 0."""
    return _too_high(signals, "zero_grad_share", ZERO_WATCHED, ZERO_LIMIT)


def norms_decayed(signals: Signals) -> Finding:
    """The norms' weights shrink as weight decay would shrink them."""
    norms, rates = signals.points("weight_rms_norms"), signals.points("learning_rate")
    decay = signals.setting("optimizer", "weight_decay", 0.0)
    if len(norms) < ENOUGH or len(rates) < ENOUGH or signals.from_weights:
        return NOT_MEASURED
    gaps = [step - before for step, before in zip(rates.steps, [0, *rates.steps], strict=False)]
    total = decay * sum(rate * gap for rate, gap in zip(rates.values, gaps, strict=True))
    late, limit = norms.late(), 1 - DECAY_SHARE * (1 - math.exp(-total))
    seen = (
        Evidence("weight_rms_norms", late.median, f"≥ {limit:.3g}", *late.span),
        Evidence("sum of learning_rate × weight_decay", total),
    )
    return Finding(state_of(total > DECAY_SEEN and late.median < limit), seen)


def loss_scale(signals: Signals) -> Finding:
    """FP16's loss scale fell to where small gradients vanish, or goes on falling."""
    scale = signals.points("loss_scale")
    if not len(scale):
        return NOT_MEASURED
    late, top = scale.late(), max(scale.values)
    seen = (
        Evidence("loss_scale", late.median, f"> {SCALE_FLOOR:g}", *late.span),
        Evidence("highest loss_scale", top, f"≤ {SCALE_FALL:g} × last"),
    )
    return Finding(state_of(late.median <= SCALE_FLOOR, top > SCALE_FALL * late.median), seen)


MODEL = (
    Criterion("initial_loss", "model", 86, initial_loss),
    Criterion("loss_scale", "model", 84, loss_scale),
    Criterion("attention_logits", "model", 70, attention_logits),
    Criterion("norms_decayed", "model", 64, norms_decayed),
    Criterion("zero_gradients", "model", 79, zero_gradients),
    Criterion("activations", "model", 49, activations),
    Criterion("output_logits", "model", 41, output_logits),
)
DATA = (
    Criterion("data_stretch", "data", 75, data_stretch),
    Criterion("vocabulary_mismatch", "data", 85, vocabulary_mismatch),
    Criterion("data_not_shuffled", "data", 81, data_not_shuffled),
    Criterion("data_repeats", "data", 66, data_repeats),
)
