"""How far a run has come; saved with every checkpoint."""

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class RunState:
    """Counters of a run, from its first step over all restarts."""

    step: int = 0
    samples: int = 0
    """Training samples consumed: what learning rate and schedules follow."""
    position: int = 0
    """Next position in the order of the data: the samples consumed and those that were left out."""
    tokens: int = 0
    seconds: float = 0.0
    """Time spent in this run's processes, start-up included."""
    best_loss: float | None = None
    """Lowest validation loss so far, nats a token."""
    losses: list[float] = field(default_factory=list)
    """Of the last steps: what a spike is measured against. Here, so that a continued run judges as it would have."""
    grad_norms: list[float] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: list(value) if isinstance(value, list) else value for name, value in values.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's values."""
        for name, value in state.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)

    def facts(self) -> dict[str, Any]:
        """The counters, for a marker or a record."""
        return {name: value for name, value in self.state_dict().items() if not isinstance(value, list)}
