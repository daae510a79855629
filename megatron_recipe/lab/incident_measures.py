"""The figures of a run that an incident's criterion may name, each one number read from the run's folder."""

import math
from collections.abc import Callable
from statistics import median

from megatron_recipe.diagnose.signals import Points, Signals
from megatron_recipe.errors import ConfigError

WINDOWS: dict[str, Callable[[Points], float]] = {
    "first": lambda points: points.values[0],
    "last": lambda points: points.values[-1],
    "highest": lambda points: max(points.values),
    "lowest": lambda points: min(points.values),
    "median": lambda points: median(points.values),
    "late": lambda points: points.late().median,
}
"""How a field's values over a run become one number; `late` is the median of its end."""


def held_out_loss(signals: Signals) -> float | None:
    """Of the last step; infinite where it is no number, or the run ended before."""
    if signals.last_life == "failed":
        return math.inf
    last = signals.facts.validation[-1:]
    if not last or last[0]["step"] < signals.setting("train", "steps", 0):
        return None
    return float(last[0]["loss"]) if math.isfinite(last[0]["loss"]) else math.inf


def failed(signals: Signals) -> float:
    """1 where a mistake or an accident ended the run, else 0."""
    return float(signals.last_life == "failed")


def share_of_time_lost(signals: Signals) -> float | None:
    """Time that was paid for steps which a kill or a lost checkpoint took back, as a share of all."""
    return signals.lost_share


NAMED: dict[str, Callable[[Signals], float | None]] = {
    "held_out_loss": held_out_loss,
    "failed": failed,
    "share_of_time_lost": share_of_time_lost,
}
"""Figures that are no field of the training records."""
NUMBERS = (
    "held_out_loss",
    "loss.late",
    "loss_jitter.median",
    "grad_norm_max.highest",
    "update_ratio.highest",
    "zero_grad_share.highest",
    "loss_scale.lowest",
    "activation_rms_last.late",
    "attention_logit_max.late",
    "tokens_per_second.median",
    "seconds.last",
)
"""What is told of every run of an incident, whatever its criterion asks for."""


def measure(name: str, signals: Signals) -> float | None:
    """A figure of `NAMED`, or `FIELD.WINDOW` of the training records (`update_ratio.highest`); None: not recorded.

    Raises:
        ConfigError: there is no such figure.
    """
    require_known(name)
    if name in NAMED:
        return NAMED[name](signals)
    field, _, window = name.rpartition(".")
    points = signals.points(field)
    return WINDOWS[window](points) if len(points) else None


def require_known(name: str) -> None:
    """Raise ConfigError for a figure that no run has."""
    field, _, window = name.rpartition(".")
    if name not in NAMED and not (field and window in WINDOWS):
        raise ConfigError(
            f"measure={name}: not a figure of a run; use one of {', '.join(NAMED)}, or FIELD.WINDOW with a field of "
            f"the training records and one of {', '.join(WINDOWS)}, such as update_ratio.highest"
        )
