"""How far a run has come; saved with every checkpoint."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class RunState:
    """Counters of a run, from its first step over all restarts."""

    step: int = 0
    samples: int = 0
    """Training samples consumed: the position in the data."""
    tokens: int = 0
    seconds: float = 0.0
    """Time spent in this run's processes, start-up included."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's values."""
        for name, value in state.items():
            setattr(self, name, value)
