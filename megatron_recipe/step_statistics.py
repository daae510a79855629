"""What the steps between two records were like: a record shows one step in ten, and accidents happen in between."""

import math
from typing import Any


class StepStatistics:
    """Losses and gradient norms of the steps since the last record; plain numbers that every step has anyway."""

    def __init__(self) -> None:
        self.first_loss: float | None = None
        self.forget()

    def forget(self) -> None:
        """Begin the interval anew: a rollback has taken back its last steps, and their accident is told by events."""
        self.losses: list[float] = []
        self.grad_norms: list[float] = []
        self.before = math.nan
        """Loss of the last step of the interval before."""
        self.left_out = 0

    def add(self, step: int, loss: float, grad_norm: float, *, is_updated: bool) -> None:
        """Count the step that made the run's `step`-th update (1 is the first)."""
        if step == 1:
            self.first_loss = loss
        self.losses.append(loss)
        self.grad_norms.append(grad_norm)
        self.left_out += not is_updated

    def take(self, clip_grad_norm: float) -> dict[str, Any]:
        """Fields of a record; begins the next interval.

        loss_mean, loss_max, grad_norm_max over the interval; loss_jitter, the standard deviation of a step's loss
        around its trend, from the differences of neighbours (von Neumann 1941), None with less than two steps;
        clipped_share, of the steps whose gradient was clipped; updates_left_out; initial_loss, of the first step, in
        the first record alone.
        """
        if not self.losses:
            return {}
        row = [*([] if math.isnan(self.before) else [self.before]), *self.losses]
        squares = [(row[index] - row[index - 1]) ** 2 for index in range(1, len(row))]
        clipped = sum(norm > clip_grad_norm for norm in self.grad_norms) if clip_grad_norm > 0 else 0
        fields: dict[str, Any] = {
            "loss_mean": sum(self.losses) / len(self.losses),
            "loss_max": max(self.losses, key=_not_a_number_last),
            "loss_jitter": math.sqrt(sum(squares) / len(squares) / 2) if squares else None,
            "grad_norm_max": max(self.grad_norms, key=_not_a_number_last),
            "clipped_share": clipped / len(self.grad_norms),
            "updates_left_out": self.left_out,
        }
        if self.first_loss is not None:
            fields["initial_loss"] = self.first_loss
        self.losses, self.grad_norms, self.before = [], [], self.losses[-1]
        self.left_out, self.first_loss = 0, None
        return fields


def _not_a_number_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
