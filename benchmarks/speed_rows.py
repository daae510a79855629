"""Rows of `benchmarks.train`: rates from step times, their text, and the ratios between them."""

import statistics
from typing import Any

from megatron_recipe.config import Config
from megatron_recipe.flops import flops_per_token, peak_tflops

Row = dict[str, Any]

HEADING = (
    f"{'recipe':13} {'':18} {'precision':9} {'tokens/s':>10} {'TFLOP/s':>8} {'MFU full':>8} {'causal':>7} "
    f"{'peak GiB':>8} {'micro':>5} {'step s':>8} {'±':>6} {'loss':>7}"
)


def row_of(
    name: str, recipe: str, measured: dict[str, Any], config: Config, samples: int, vocab_size: int, device: str
) -> Row:
    """A row from what was measured: step times (seconds, intervals' means) and the tokens of a step, or an error."""
    row: Row = {"name": name, "recipe": recipe, "precision": precision_of(name, config), "samples": samples, **measured}
    row["shape"] = shape_of(config, samples)
    if "step_seconds" not in measured:
        return row
    times = measured["step_seconds"]
    per_second = measured["tokens"] / statistics.median(times)
    row |= {
        "tokens_per_second": per_second,
        "seconds": statistics.median(times),
        "spread": (max(times) - min(times)) / statistics.median(times),
    }
    for kind in ("full", "causal"):
        flops = flops_per_token(config.model, vocab_size, causal=kind == "causal")
        row[f"tflops_{kind}"] = per_second * flops / 1e12
    return row | mfu_of(config, vocab_size, per_second, device)


def mfu_of(config: Config, vocab_size: int, per_second: float, device: str) -> dict[str, float | None]:
    """`mfu_full` and `mfu_causal` of one GPU at so many tokens a second; None on a card whose peak is not known."""
    peak = peak_tflops(device)
    return {
        f"mfu_{kind}": per_second * flops_per_token(config.model, vocab_size, causal=kind == "causal") / 1e12 / peak
        if peak
        else None
        for kind in ("full", "causal")
    }


def shape_of(config: Config, samples: int) -> str:
    """What rows must share to be compared: the model and the samples of a step."""
    return f"{config.model!r} {samples}"


def precision_of(name: str, config: Config) -> str:
    """`bf16`, `fp8`, …; of a peer that of its products."""
    if name in ("ours", "bare"):
        return "fp8" if config.precision.fp8 != "off" else config.precision.dtype
    return "bf16"


def text(row: Row) -> str:
    """A row of the table."""
    begin = f"{row['recipe']:13} {row['name']:18} {row['precision']:9}"
    if "error" in row:
        return f"{begin} {row['error']}"
    if "tflops" in row:
        return f"{'':13} {row['name']:18} {row['precision']:9} {'':>10} {row['tflops']:>8,.1f}   {row['device']}"
    return (
        f"{begin} {row['tokens_per_second']:>10,.0f} {row['tflops_full']:>8,.1f} {percent(row['mfu_full']):>8} "
        f"{percent(row['mfu_causal']):>7} {number(row['peak_gib'], '.1f'):>8} {row['micro_batch']:>5} "
        f"{row['seconds']:>8.3f} {row['spread'] / 2:>6.1%} {row['loss']:>7.3f}"
    )


def last_line(row: Row, rows: list[Row]) -> str:
    """Our row and its ratios, in the form that scripts read."""
    same = [one for one in rows if one["shape"] == row["shape"] and "tokens_per_second" in one]
    bare = [one for one in same if one["name"] == "bare" and one["recipe"] == row["recipe"]]
    values = {
        "recipe": row["recipe"],
        "precision": row["precision"],
        "tokens_per_second": f"{row['tokens_per_second']:.0f}",
        "mfu_full": number(row["mfu_full"], ".4f"),
        "mfu_causal": number(row["mfu_causal"], ".4f"),
        "peak_gib": number(row["peak_gib"], ".1f"),
        "vs_litgpt": ratio(row, [one for one in same if one["name"] == "litgpt-bf16"]),
        "vs_litgpt_mixed": ratio(row, [one for one in same if one["name"] == "litgpt-mixed"]),
        "vs_transformers": ratio(row, [one for one in same if one["name"].startswith("transformers")]),
        "vs_torchtitan": ratio(row, [one for one in same if one["name"] == "torchtitan"]),
        "vs_bare": ratio(row, bare),
    }
    return " ".join(f"{name}={value}" for name, value in values.items())


def ratio(row: Row, others: list[Row]) -> str:
    """Speed over that of the fastest of the others."""
    if not others:
        return "-"
    return f"{row['tokens_per_second'] / max(one['tokens_per_second'] for one in others):.3f}"


def percent(share: float | None) -> str:
    """`61.3 %`."""
    return "-" if share is None else f"{share:.1%}"


def number(value: float | None, form: str) -> str:
    """The value in this form, a dash where there is none."""
    return "-" if value is None else format(value, form)
