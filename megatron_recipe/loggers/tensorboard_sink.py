"""Numbers as TensorBoard scalars, below the run folder."""

from pathlib import Path
from typing import Any


class TensorboardSink:
    """Event files in one folder; a step that comes again makes TensorBoard forget what it had from there on.

    TensorBoard keeps scalars in single precision: seven digits.
    """

    def __init__(self, folder: Path, last_step: int) -> None:
        """`last_step`: the step that the run stands at, 0 at its start."""
        self.folder = folder
        self.writer = self._open(last_step)

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Add one scalar for each number."""
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def rewind(self, step: int) -> None:
        """Begin a file whose first entry voids all that lies after `step`."""
        self.writer.close()
        self.writer = self._open(step)

    def close(self) -> None:
        """Flush to the disk."""
        self.writer.close()

    def _open(self, last_step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=last_step + 1)
