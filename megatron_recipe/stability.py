"""What a step's loss and gradient norm say about the run: all well, a spike, or not a number; and what to do then.

A value is a spike when it lies further above the median of the last steps than `…_deviations` robust standard
deviations, 1.4826 × the median absolute deviation (Rousseeuw and Croux 1993): a spike in the window does not widen
the measure by which the next one is judged, as it would widen a standard deviation.
"""

import math
from dataclasses import dataclass
from statistics import median
from typing import Literal

from megatron_recipe.config import StabilityConfig
from megatron_recipe.run_state import RunState

Action = Literal["go", "log", "skip", "rollback", "stop"]
Quantity = Literal["loss", "grad_norm", "nan"]

CONSISTENT_WITH_NORMAL = 1.4826
SMALLEST_DEVIATION = {"loss": 1e-3, "grad_norm": 0.1}
"""Of the median. On a plateau the deviation may be tiny, and a jump by a thousandth is no accident. The norm of a calm
run varies by 3 %, and single batches have 1.5 to 3 times it without harm (gpt_100m, docs/reference_run.md): 20
deviations are then three times the median at least."""
SKIPS_IN_A_ROW = 8
"""Updates left out one after the other, after which leaving out helps no more and the run is rolled back."""


@dataclass(frozen=True)
class Verdict:
    """What to do with a step, and why. The numbers are None for an ordinary step."""

    action: Action
    quantity: Quantity | None = None
    value: float | None = None
    median: float | None = None
    deviations: float | None = None

    @property
    def updates(self) -> bool:
        """Whether the weights take this step."""
        return self.action in ("go", "log")

    def words(self) -> str:
        """For the console and for messages."""
        if self.quantity == "nan":
            return f"the loss or the gradient is {self.value}"
        name = "loss" if self.quantity == "loss" else "gradient norm"
        return f"{name} {self.value:.4g}, {self.deviations:.1f} deviations above the median {self.median:.4g}"


class Guard:
    """Judges each step of a run by the values of the steps before it, which `RunState` keeps."""

    def __init__(self, config: StabilityConfig) -> None:
        self.config = config
        self.skipped_in_a_row = 0

    def judge(self, state: RunState, loss: float, grad_norm: float) -> Verdict:
        """Every rank passes the same values and gets the same verdict. Values that are taken join the window."""
        verdict = self._verdict(state, loss, grad_norm)
        if verdict.action == "skip" and self.skipped_in_a_row >= SKIPS_IN_A_ROW:
            verdict = Verdict("rollback", verdict.quantity, verdict.value, verdict.median, verdict.deviations)
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if verdict.action == "skip" else 0
        if verdict.updates and math.isfinite(loss) and math.isfinite(grad_norm):
            for window, value in ((state.losses, loss), (state.grad_norms, grad_norm)):
                window.append(value)
                del window[: -self.config.window_steps]
        return verdict

    def _verdict(self, state: RunState, loss: float, grad_norm: float) -> Verdict:
        config = self.config
        for value in (loss, grad_norm):
            if not math.isfinite(value):
                return Verdict(config.on_nan, "nan", value)
        if len(state.losses) < config.window_steps // 4:
            return Verdict("go")
        for quantity, window, value, limit, action in (
            ("loss", state.losses, loss, config.loss_spike_deviations, config.on_loss_spike),
            ("grad_norm", state.grad_norms, grad_norm, config.grad_spike_deviations, config.on_grad_spike),
        ):
            middle, deviations = robust_deviations(window, value, SMALLEST_DEVIATION[quantity])
            if deviations > limit:
                return Verdict(action, quantity, value, middle, deviations)  # type: ignore[arg-type]
        return Verdict("go")


def robust_deviations(
    window: list[float], value: float, smallest: float = SMALLEST_DEVIATION["loss"]
) -> tuple[float, float]:
    """The window's median, and how far `value` is above it in robust standard deviations.

    smallest: of the median; a deviation counts as that much at least.
    """
    middle = median(window)
    spread = CONSISTENT_WITH_NORMAL * median(abs(entry - middle) for entry in window)
    return middle, (value - middle) / max(spread, smallest * abs(middle), 1e-12)
