"""Numbers to Weights & Biases: uploaded while training, or kept in the run folder to be uploaded later.

One run here is one run there: its id stands in ``wandb_run.json``, and every process that continues the run adds to it.
W&B's own step counts log calls and can't go back, hence charts are drawn over the field ``step`` of each record, which
may repeat after a rollback or a resume.
"""

import json
import os
import secrets
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megatron_recipe import console
from megatron_recipe.config import Config
from megatron_recipe.files import write_json
from megatron_recipe.loggers.reach import unreachable
from megatron_recipe.loggers.requirements import wandb_address

PROBE_SECONDS = 3.0
"""For a first answer of the service; with INIT_SECONDS less than the ten that a start may lose."""
INIT_SECONDS = 5.0
FINISH_SECONDS = 60.0
"""For the rest of an upload at the end of a run; `wandb sync` sends what is left."""
FLUSH_SECONDS = 2.0
"""What a kill may cost there; metrics.jsonl loses nothing."""
RUN_FILE = "wandb_run.json"


class WandbSink:
    """A W&B run in `run_dir`, new or continued."""

    def __init__(self, run_dir: Path, config: Config, environment: Mapping[str, str] = os.environ) -> None:
        """Starts it; one that can't be online within ten seconds is offline, with one warning."""
        self.run: Any = None
        self.wandb = _quiet_wandb()
        sync_later = f"`megatron-recipe sync {run_dir}` uploads it"
        if config.logging.wandb == "online":
            reason = unreachable(wandb_address(environment), PROBE_SECONDS)
            if reason is None:
                reason = self._try_online(run_dir, config)
            if reason is not None:
                console.warn(f"W&B is not reached ({reason}): this run is kept offline; {sync_later}")
        if self.run is None:
            self.run = self._start(run_dir, config, "offline")
            if config.logging.wandb == "offline":
                console.say(f"W&B: offline, in {run_dir / 'wandb'}; {sync_later}")
        else:
            console.say(f"W&B: {self.run.url}")
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Log the numbers; W&B writes and uploads them in a process of its own."""
        self.run.log({"step": step, **numbers})

    def rewind(self, step: int) -> None:
        """Nothing to do: both passes stay, drawn over the same steps."""

    def close(self) -> None:
        """Finish the run's upload, for a minute at most."""
        self.run.finish()

    def _try_online(self, run_dir: Path, config: Config) -> str | None:
        """Start an online run; returns why that failed."""
        try:
            self.run = self._start(run_dir, config, "online")
        except Exception as error:  # W&B raises its own errors, those of its service, and urllib's
            self.wandb.teardown()  # else it holds that the id is in use
            self.wandb = _quiet_wandb()
            return str(error).splitlines()[0] if str(error) else type(error).__name__
        return None

    def _start(self, run_dir: Path, config: Config, mode: str) -> Any:
        return self.wandb.init(
            project=config.logging.wandb_project,
            name=run_dir.absolute().name,
            id=run_id(run_dir),
            # offline it is ignored with a warning; there the id alone joins the pieces when they are uploaded
            resume="allow" if mode == "online" else None,
            mode=mode,
            dir=str(run_dir),
            config=config.model_dump(mode="json"),
            settings=self.wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,
                x_disable_stats=True,  # the records hold the readings already
                x_transaction_log_flush_interval=FLUSH_SECONDS,
                init_timeout=INIT_SECONDS,
                login_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
            ),
        )


def run_id(run_dir: Path) -> str:
    """The W&B id of the run in `run_dir`; made and written down the first time."""
    path = run_dir / RUN_FILE
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))["id"]
    alphabet = string.ascii_lowercase + string.digits
    identifier = "".join(secrets.choice(alphabet) for _ in range(8))
    write_json(path, {"id": identifier})
    return identifier


def _quiet_wandb() -> Any:
    """The module, told to print nothing and to keep no diary of its own errors.

    That diary is sent when the process ends, and holds the end up for half a minute where the service has faults.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    wandb.setup(settings=wandb.Settings(silent=True))
    return wandb
