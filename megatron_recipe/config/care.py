"""What is kept of a run, and what is done when it goes wrong."""

from typing import Literal

from pydantic import Field

from megatron_recipe.settings import Section


class CheckpointConfig(Section):
    """When a checkpoint is saved, and which are kept."""

    save_every_steps: int = Field(default=500, ge=0)
    """Steps between checkpoints; 0 saves by the other rules alone. The last step is always saved."""
    save_every_minutes: float = Field(default=0.0, ge=0)
    """Minutes between checkpoints, whatever the steps; 0 is off."""
    save_at_hour: int | None = Field(default=None, ge=0, le=23)
    """Hour of the day (local time) at whose beginning one is saved; null is off."""
    keep_last: int = Field(default=3, gt=0)
    """Newest checkpoints that are kept. The one of the best validation loss and milestones are kept besides."""
    keep_best: bool = True
    """Save at the best validation loss so far, and keep it."""
    milestone_every_steps: int = Field(default=0, ge=0)
    """Steps between checkpoints that are never deleted; 0 is none."""
    milestone_weights_only: bool = False
    """Milestones without optimizer states, a seventh of the size: to evaluate and export, not to continue from."""
    asynchronous: bool = True
    """Train on while files are written and hashed: a step waits for the copy out of the GPU alone."""
    when_none_is_whole: Literal["stop", "begin_anew"] = "stop"
    """What a start does where none of a run's checkpoints verifies, or all are gone of which its records say that they
    were saved. `begin_anew` begins at the first step, and the records of the run with it."""
    sync_to: str = ""
    """Where the run is copied after each checkpoint, as by `sync --to`: `user@host:path` (rsync), `remote:path`
    (rclone). Empty copies nowhere. Training does not wait for it, but for the last one at the end of the run."""
    sync_keep: int = Field(default=2, gt=0)
    """Checkpoints that stay in the copy; older ones are deleted there."""


class StabilityConfig(Section):
    """What counts as an accident of training, and what is done about it."""

    on_nan: Literal["log", "skip", "rollback", "stop"] = "rollback"
    """When loss or gradient is not a number, or infinite. `skip` leaves out the update of that step. `rollback` takes
    the newest good checkpoint up and leaves out the samples from there past the accident. `stop` ends the run."""
    on_loss_spike: Literal["log", "skip", "rollback", "stop"] = "rollback"
    """When the loss jumps by more than `loss_spike_deviations`."""
    on_grad_spike: Literal["log", "skip", "rollback", "stop"] = "skip"
    """When the gradient norm jumps by more than `grad_spike_deviations`."""
    loss_spike_deviations: float = Field(default=8.0, gt=0)
    """Distance from the window's median, in robust standard deviations (1.4826 × median absolute deviation)."""
    grad_spike_deviations: float = Field(default=20.0, gt=0)
    """The same for the gradient norm, whose ordinary jumps are larger; a deviation counts as a tenth of the median at
    least, so that by default what lies below three times the median is ordinary."""
    window_steps: int = Field(default=128, ge=8)
    """Steps that the median is taken over; nothing is judged before a quarter of it is full."""
    skip_past_steps: int = Field(default=16, ge=0)
    """A rollback leaves out so many steps' samples behind the accident, too: bad text seldom ends where it was seen."""
    max_attempts: int = Field(default=3, gt=0)
    """Rollbacks at most within ten windows; then the run stops with a diagnosis."""
