"""The folder of a run: what stands in it before the first step, and whether it may be continued."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from megatron_recipe import flops
from megatron_recipe.batch_schedule import total_samples
from megatron_recipe.budget import is_clocked
from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError, DataError, MachineError
from megatron_recipe.files import held_alone, write_json
from megatron_recipe.flops import padded_vocab_size
from megatron_recipe.metrics import device_name
from megatron_recipe.mix import changed_order
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config, write_config
from megatron_recipe.settings import flat

CONFIG = "config.yaml"
LOCK = ".lock"
LOCK_PATIENCE_SECONDS = 5.0
FIXED = ("batch.", "schedule.", "optimizer.", "data.mask_between_documents", "train.steps")
"""What a run keeps from its beginning: fields, and all of a section. Of the optimizer the checkpoint's own values would
silently override new ones."""
CHANGEABLE = (
    "batch.micro_batch_size_samples",
    "optimizer.weight_decay",
    "optimizer.clip_grad_norm",
    "optimizer.states",
)
"""Of those, what takes effect from the next step on, what changes no number, and what the checkpoint's loading refuses
with the better message (the optimizer's states)."""


def check_same_run(config: Config, run_dir: Path, samples: int, position: int, checksums: dict[str, str]) -> None:
    """Raise ConfigError if going on with `config` would change what the run in `run_dir` began with.

    The order of the samples before `position`, the batch and the schedule are fixed. Where to stop, what to log, how
    to lay the model over ranks, the micro-batch and later phases of the data may change; so may the length of a run
    whose learning rate is on its plateau.

    Args:
        samples: consumed so far.
        checksums: of the training tokens by dataset folder, those of the run's past and those of now.
    """
    path = run_dir / CONFIG
    if not path.is_file():
        return
    before = load_config(str(path))
    free = set(CHANGEABLE)
    if on_plateau(before, samples) and on_plateau(config, samples):
        free.add("train.steps")
    began, wanted = (flat(one.model_dump(mode="json")) for one in (before, config))
    changed = [
        f"{name}: {began.get(name)} in {path}, {value} now"
        for name, value in wanted.items()
        if name not in free and name.startswith(FIXED) and value != began.get(name)
    ]
    if before.budget.amount and config.budget.amount:  # of tokens: that is what the user gave
        was, now = (f"{one.budget.amount:,.12g} {one.budget.unit}" for one in (before, config))
        asked = f"--budget: {was} in {path}, {now} now"
        changed = [asked if one.startswith("train.steps:") else one for one in changed]
    changed += changed_order(before, config, position, checksums)
    if is_clocked(before.budget) and not is_clocked(config.budget):
        length = f"{before.budget.amount:g} {before.budget.unit}"
        changed.append(f"its length is a budget of {length} in {path}, and none is given now (--budget, --price)")
    if changed:
        raise ConfigError(
            f"{run_dir} holds a run that began with other settings: {'; '.join(changed)}; "
            "start a new run with another --run-dir, or go back to those settings"
        )


def on_plateau(config: Config, samples: int) -> bool:
    """Whether the learning rate stands at its peak after `samples`, so that its length may still change."""
    if is_clocked(config.budget):
        return True  # the clock of a budget does not follow steps
    total, schedule = total_samples(config), config.schedule
    flat_until = {"wsd": total * (1 - schedule.wsd_decay_fraction), "constant": total}.get(schedule.decay, 0)
    return total * schedule.warmup_fraction <= samples <= flat_until


@contextmanager
def held_by_first_rank(run_dir: Path) -> Iterator[None]:
    """Keep other processes from training in this folder at the same time. Raises DataError where one does.

    What a killed run leaves behind lets the lock go within moments of it, hence the patience.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    busy = f"{run_dir}: process {{holder}} is training in this folder; wait for it, stop it, or name another --run-dir"
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held_alone(run_dir / LOCK, busy))
                break
            except DataError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            except MachineError as error:
                raise MachineError(f"--run-dir {error}") from error
        yield


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
