"""Checks of the machine: speed and what it is lost to, memory, heat, ranks that lag behind."""

from megatron_recipe.diagnose.criterion import NOT_MEASURED, Criterion, Evidence, Finding, state_of
from megatron_recipe.diagnose.signals import ENOUGH, Points, Signals

MFU_TARGET, MFU_LOW = 0.4, 0.25
WAIT_WATCHED, WAIT_LIMIT = 0.1, 0.25
BUSY_TARGET, BUSY_LOW = 80.0, 50.0
MEMORY_LOW, MEMORY_HIGH, MEMORY_FULL = 0.7, 0.9, 0.95
SLOW_RANK = 1.5
HOT_CELSIUS = 85.0
HOST_PERCENT, SHARED_PERCENT = 95.0, 90.0
SLOWED = 0.7


def data_wait(signals: Signals) -> Finding:
    """Training waits for its data."""
    share = _without_start(signals.points("data_wait_share"))
    if len(share) < 2:
        return NOT_MEASURED
    late = share.part(len(share) // 2)
    seen = Evidence("data_wait_share", late.median, f"≤ {WAIT_WATCHED}", *late.span)
    workers = Evidence("data.num_workers", signals.setting("data", "num_workers", 2))
    return Finding(state_of(late.median > WAIT_LIMIT, late.median > WAIT_WATCHED), (seen, workers))


def low_mfu(signals: Signals) -> Finding:
    """A small part of the card's arithmetic is used; the notes name what the figures point to."""
    mfu = _without_start(signals.points("mfu_full"))
    if len(mfu) < 2:
        return NOT_MEASURED
    late = mfu.late()
    seen = Evidence("mfu_full", late.median, f"≥ {MFU_TARGET}", *late.span)
    state = state_of(late.median < MFU_LOW, late.median < MFU_TARGET)
    return Finding(state, (seen,), _reasons(signals) if state != "ok" else ())


def _reasons(signals: Signals) -> tuple[str, ...]:
    starts = [event for event in signals.events("start", "resume") if event.get("micro_batch")]
    micro = starts[-1]["micro_batch"] if starts else signals.setting("batch", "micro_batch_size_samples", 0)
    tokens = signals.setting("model", "sequence_length_tokens", 0) * (micro if isinstance(micro, int) else 0)
    found = {
        "input": data_wait(signals).state in ("wrong", "attention"),
        "small_batch": 0 < tokens < 4096,
        "recompute": signals.setting("memory", "recompute") == "full",
        "straggler": stragglers(signals).state == "wrong",
        "throttled": throttled(signals).state != "ok" and throttled(signals).state != "not measured",
    }
    return tuple(name for name, holds in found.items() if holds) or ("unknown",)


def gpu_idle(signals: Signals) -> Finding:
    """The GPUs are idle for a part of the time."""
    busy = _without_start(signals.points("gpu_utilisation_mean"))
    if len(busy) < 2:
        return NOT_MEASURED
    late = busy.late()
    seen = Evidence("gpu_utilisation_mean", late.median, f"≥ {BUSY_TARGET:g} %", *late.span)
    return Finding(state_of(late.median < BUSY_LOW, late.median < BUSY_TARGET), (seen,))


def gpu_memory(signals: Signals) -> Finding:
    """GPU memory is short, or much of it is not used."""
    used = signals.points("memory_reserved_gb", "gpu_memory_used_gb_max")
    total = card_memory_gb(signals, used)
    if not total:
        return NOT_MEASURED
    share = used.late().median / total
    seen = Evidence("memory_reserved_gb / card", share, f"{MEMORY_LOW} … {MEMORY_HIGH}", *used.late().span)
    notes = ("memory_full",) if share > MEMORY_HIGH else ("memory_free",) if share < MEMORY_LOW else ()
    return Finding(state_of(share > MEMORY_FULL, bool(notes)), (seen,), notes)


def card_memory_gb(signals: Signals, used: Points) -> float | None:
    """Memory of the card, as it was recorded or as the table of cards has it; None where neither tells."""
    recorded = signals.points("memory_card_gb")
    if len(recorded) or not len(used) or not signals.on_gpu:
        return recorded.values[-1] if len(recorded) and len(used) else None
    from megatron_recipe.plan.hardware import hardware_for, profiles

    found = hardware_for(signals.facts.environment["device"], round(max(used.values) * 1e9))
    return profiles()[found.name].memory_bytes / 1e9 if found else None


def stragglers(signals: Signals) -> Finding:
    """One rank takes longer than the others, which wait for it."""
    events = signals.events("straggler")
    slowest, middle = signals.points("forward_seconds_slowest"), signals.points("forward_seconds_median")
    if not len(slowest) or len(slowest) != len(middle):
        return NOT_MEASURED
    ratio = Points(slowest.steps, [a / max(b, 1e-9) for a, b in zip(slowest.values, middle.values, strict=True)]).late()
    seen = [Evidence("forward_seconds slowest / median", ratio.median, f"≤ {SLOW_RANK}", *ratio.span)]
    if events:
        ranks = ", ".join(sorted({str(event.get("rank")) for event in events}))
        steps = [event.get("step", 0) for event in events]
        seen.append(Evidence("straggler", f"rank {ranks}", "none", min(steps), max(steps)))
    return Finding(state_of(ratio.median > SLOW_RANK, bool(events)), tuple(seen))


def throttled(signals: Signals) -> Finding:
    """GPUs are hot, held down, or have memory errors."""
    late = signals.facts.train[-ENOUGH:]
    if not any("gpu_temperature_max" in record for record in late):
        return NOT_MEASURED
    hot = max(record.get("gpu_temperature_max") or 0.0 for record in late)
    errors = max(record.get("gpu_ecc_errors") or 0 for record in late)
    reasons = sorted({record["gpu_throttle"] for record in late if record.get("gpu_throttle")} - {"power cap"})
    steps = (late[0]["step"], late[-1]["step"])
    seen = (
        Evidence("gpu_temperature_max", hot, f"≤ {HOT_CELSIUS:g} °C", *steps),
        Evidence("gpu_throttle", ", ".join(reasons) or "-", "-", *steps),
        Evidence("gpu_ecc_errors", errors, "0", *steps),
    )
    return Finding(state_of(errors > 0, hot > HOT_CELSIUS or bool(reasons)), seen)


def slowed_down(signals: Signals) -> Finding:
    """The run is slower than it was. A CPU that others use too says nothing."""
    speed = _without_start(signals.points("tokens_per_second"))
    if not signals.on_gpu or len(speed) < 4 * ENOUGH:
        return NOT_MEASURED
    best = max(speed.smoothed(max(ENOUGH, len(speed) // 10)).values)
    late = speed.late()
    seen = Evidence("tokens_per_second", late.median, f"≥ {SLOWED * best:,.0f} = {SLOWED} × best", *late.span)
    return Finding(state_of(False, late.median < SLOWED * best), (seen,))


def host_memory(signals: Signals) -> Finding:
    """The host's memory, or the part through which batches are handed over, is nearly full."""
    host, shared = signals.points("host_memory_percent"), signals.points("shared_memory_percent")
    if not len(host):
        return NOT_MEASURED
    seen = [Evidence("host_memory_percent", host.late().median, f"≤ {HOST_PERCENT:g}", *host.late().span)]
    full = host.late().median > HOST_PERCENT
    if len(shared):
        seen.append(Evidence("shared_memory_percent", shared.late().median, f"≤ {SHARED_PERCENT:g}"))
        full = full or shared.late().median > SHARED_PERCENT
    return Finding(state_of(full), tuple(seen))


def _without_start(points: Points) -> Points:
    """The first records hold the building of caches and kernels."""
    return points.part(2)


MACHINE = (
    Criterion("data_wait", "machine", 60, data_wait),
    Criterion("stragglers", "machine", 58, stragglers),
    Criterion("host_memory", "machine", 57, host_memory),
    Criterion("throttled", "machine", 54, throttled),
    Criterion("low_mfu", "machine", 35, low_mfu),
    Criterion("gpu_idle", "machine", 33, gpu_idle),
    Criterion("gpu_memory", "machine", 31, gpu_memory),
    Criterion("slowed_down", "machine", 30, slowed_down),
)
