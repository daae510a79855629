"""Numbers to SwanLab: uploaded while training (`cloud`), or kept in the run folder (`local`)."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from megatron_recipe import console
from megatron_recipe.config import Config
from megatron_recipe.loggers.reach import unreachable
from megatron_recipe.loggers.wandb_sink import run_id

PROBE_SECONDS = 5.0
SETTINGS: dict[str, Any] = {
    "interactive": False,
    "terminal": {"proxy_type": "none"},  # else it copies all that the run prints
    "probe": {"hardware": False, "runtime": False, "requirements": False, "git": False, "monitor": False},
}


class SwanlabSink:
    """A SwanLab run in `run_dir`; online it continues the one that the run began with.

    SwanLab takes each step once: after a rollback it shows the first pass up to where that came, then the second.
    """

    def __init__(self, run_dir: Path, config: Config) -> None:
        """Starts it; `cloud` without an answer of the service is kept in the run folder, with a warning."""
        import swanlab

        settings = swanlab.Settings.model_validate(SETTINGS)
        folder = run_dir / "swanlab"
        sync_later = f"kept in {folder}; `swanlab sync {folder}/run-…` uploads it"
        reason = None
        if config.logging.swanlab == "cloud":
            reason = unreachable(settings.api_host, PROBE_SECONDS)
            if reason is not None:
                console.warn(f"SwanLab is not reached ({reason}): this run is {sync_later}")
        else:
            console.say(f"SwanLab: {sync_later}")
        online = config.logging.swanlab == "cloud" and reason is None
        continued: dict[str, Any] = {"id": run_id(run_dir), "resume": "allow"} if online else {}
        with _silence():
            self.run: Any = swanlab.init(
                # its `local` mode is a dashboard of one more package; `offline` writes the same files
                mode="online" if online else "offline",
                project=config.logging.wandb_project,
                name=run_dir.absolute().name,
                log_dir=str(folder),
                config=config.model_dump(mode="json"),
                settings=settings,
                **continued,
            )

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Log the numbers."""
        self.run.log(numbers, step=step)

    def rewind(self, step: int) -> None:
        """Nothing to do: SwanLab leaves steps out that it has."""

    def close(self) -> None:
        """Finish the run."""
        with _silence():
            self.run.finish()


def _silence() -> redirect_stdout[io.StringIO]:
    """SwanLab greets and takes its leave on standard output, without a switch for it."""
    return redirect_stdout(io.StringIO())
