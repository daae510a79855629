"""What a destination of numbers must do."""

from typing import Protocol


class Sink(Protocol):
    """One destination besides metrics.jsonl."""

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Take the numbers of one record."""

    def rewind(self, step: int) -> None:
        """The steps after `step` come again."""

    def close(self) -> None:
        """Flush, and let go."""
