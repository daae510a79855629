"""The folder of a run: what stands in it before the first step, and whether it may be continued."""

import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from megatron_recipe import flops
from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.files import write_json
from megatron_recipe.flops import padded_vocab_size
from megatron_recipe.metrics import device_name
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config, write_config

CONFIG = "config.yaml"


def check_same_run(config: Config, run_dir: Path) -> None:
    """Raise ConfigError if `run_dir` holds a run whose data order or schedule differs from `config`'s.

    Such a run would continue with other samples or another learning rate than it began with. Where to stop, what to
    log and how to lay the model over ranks may change.
    """
    path = run_dir / CONFIG
    if not path.is_file():
        return
    before = load_config(str(path))
    fixed = {
        "data.datasets": lambda c: c.data.datasets,
        "data.seed": lambda c: c.data.seed,
        "model.sequence_length_tokens": lambda c: c.model.sequence_length_tokens,
        "batch.global_batch_size_samples": lambda c: c.batch.global_batch_size_samples,
        "train.steps": lambda c: c.train.steps,
        "schedule": lambda c: c.schedule,
    }
    changed = [
        f"{name}: {value(before)} in {path}, {value(config)} now"
        for name, value in fixed.items()
        if value(before) != value(config)
    ]
    if changed:
        raise ConfigError(
            f"{run_dir} holds a run that began with other settings: {'; '.join(changed)}; "
            "start a new run with another --run-dir, or go back to those settings"
        )


def write_run_facts(config: Config, run_dir: Path, vocab_size: int, ranks: Ranks) -> None:
    """Write config.yaml and environment.json: enough to repeat the run and to judge its numbers."""
    write_config(config, run_dir / CONFIG)
    write_json(
        run_dir / "environment.json",
        {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "device": device_name(ranks.device),
            "world_size": ranks.world_size,
            "parameters": flops.parameter_count(config.model, padded_vocab_size(vocab_size, config.model)),
            "torch": version("torch"),
            "megatron_core": version("megatron-core"),
            "python": platform.python_version(),
            "host": platform.node(),
            "git": git_commit(),
        },
    )


def git_commit() -> str | None:
    """Commit of the checkout this code runs from, with `+` if it has changes; None outside a checkout."""
    here = Path(__file__).parent
    commands = (["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"])
    try:
        commit, changes = (
            subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")
