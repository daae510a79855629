"""Checkpoints of a run: Megatron's distributed format, complete or not there, loadable in any parallel layout.

    runs/<name>/checkpoints/step_00000100/     Megatron's files (torch_dist), integrity.json, and, written last,
                                checkpoint.json   what is in it
                            latest             name of the newest one, for whoever looks

`checkpoint_writer` writes them, `checkpoint_policy` says when, and which are kept.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch.distributed as dist
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.dist_checkpointing.core import CheckpointingException
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

from megatron_recipe import flops, optimizer_conversion
from megatron_recipe.agreement import agree, all_ranks, first_ranks
from megatron_recipe.architecture import differences
from megatron_recipe.checkpoint_integrity import MARKER, damage
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.environment import environment_variable
from megatron_recipe.errors import CheckpointError
from megatron_recipe.flops import padded_vocab_size
from megatron_recipe.parallel import Ranks
from megatron_recipe.run_state import RunState

FORMAT = "megatron-recipe/checkpoint/2"
TRUST_PICKLES = "NVTE_ALLOW_UNSAFE_PICKLE_EXTRA_STATE"
DAMAGED = "damaged_"
"""Before the name of a checkpoint that did not verify, until there are enough that do."""
LOADING_SHARE = 0.9
"""Of the free memory, beyond which a load is warned of."""


@dataclass(frozen=True)
class Training:
    """The parts of a run that a checkpoint holds."""

    model: list[DistributedDataParallel]
    optimizer: MegatronOptimizer
    scheduler: OptimizerParamScheduler
    state: RunState
    first_gathers: bool = False
    """Before a save, gather the distributed optimizer's states on the first data-parallel rank alone: slower, in a
    fraction of the host's memory (see `host_is_small`)."""

    def sharded_state(self, *, is_loading: bool, weights_only: bool = False) -> dict[str, Any]:
        """Megatron's description of every tensor: its global name and shape, and this rank's part of it."""
        names = ["model"] if len(self.model) == 1 else [f"model{index}" for index in range(len(self.model))]
        sharded: dict[str, Any] = {
            name: chunk.module.sharded_state_dict(metadata=_sharding(self.first_gathers))
            for name, chunk in zip(names, self.model, strict=True)
        }
        if weights_only:
            return sharded
        weights = sharded["model"] if len(self.model) == 1 else dict(sharded)
        sharding = _sharding(self.first_gathers)
        sharded["optimizer"] = self.optimizer.sharded_state_dict(weights, is_loading=is_loading, metadata=sharding)
        sharded["scheduler"] = self.scheduler.state_dict()
        sharded["run_state"] = self.state.state_dict()
        return sharded

    def load_state(self, loaded: dict[str, Any]) -> None:
        """Put what `dist_checkpointing.load` returned for `sharded_state` in place."""
        for index, chunk in enumerate(self.model):
            chunk.module.load_state_dict(loaded["model" if len(self.model) == 1 else f"model{index}"])
        self.optimizer.load_state_dict(loaded["optimizer"])
        # what the schedule is was checked against the run's past; here it takes its place in it, and no more
        self.scheduler.override_opt_param_scheduler = True
        self.scheduler.num_steps = 0  # it adds what it loads, and after a rollback it is not new
        self.scheduler.load_state_dict(loaded["scheduler"])
        self.state.load_state_dict(loaded["run_state"])


def host_is_small(config: Config, vocab_size: int) -> bool:
    """Whether the optimizer's states, gathered on every rank, would strain this machine's memory; all ranks agree.

    Megatron gathers them on each data-parallel rank before a save: 12 bytes a parameter, and as much again on the way.
    """
    needed = 2 * host_state_bytes(config, vocab_size)
    (is_small,) = agree(float(needed > psutil.virtual_memory().available / 2))
    return bool(is_small)


def host_state_bytes(config: Config, vocab_size: int) -> float:
    """The optimizer's states, whole on each of this machine's ranks: what loading holds in the machine's memory."""
    layout = config.parallel
    parameters = flops.parameter_count(config.model, padded_vocab_size(vocab_size, config.model))
    return 12 * parameters / (layout.tensor * layout.pipeline) * int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def short_memory(config: Config, vocab_size: int) -> str | None:
    """A warning where loading may take more memory than this machine has free; None where it has enough."""
    needed, free = host_state_bytes(config, vocab_size), psutil.virtual_memory().available
    if needed < LOADING_SHARE * free:
        return None
    return (
        f"loading the checkpoint holds about {needed / 1e9:,.0f} GB of this machine's memory, and {free / 1e9:,.0f} GB "
        "are free; if the kernel ends the run here, split the model further (parallel.tensor or pipeline: a checkpoint "
        "loads in any layout), or take a machine with more memory"
    )


def _sharding(first_gathers: bool) -> dict[str, Any]:
    """How states are cut: by parameter, so that any layout reads them. A fresh one each time: Megatron changes it."""
    return {
        "distrib_optim_sharding_type": "fully_reshardable",
        "distrib_optim_fully_reshardable_mem_efficient": first_gathers,
        "chained_optim_avoid_prefix": True,
        "singleton_local_shards": False,
        "dp_cp_group": parallel_state.get_data_parallel_group(with_context_parallel=True),
    }


def step_folder(checkpoints: Path, step: int) -> Path:
    """Folder of the checkpoint of a step."""
    return checkpoints / f"step_{step:08d}"


def complete_checkpoints(checkpoints: Path) -> list[Path]:
    """Folders with a marker, oldest first; a copy under a name of the user's own is none of them."""
    folders = (path.parent for path in checkpoints.glob(f"step_*/{MARKER}"))
    return sorted(folder for folder in folders if folder.name.removeprefix("step_").isdecimal())


def newest_good(checkpoints: Path, ranks: Ranks, before_step: int | None = None) -> tuple[Path | None, list[str]]:
    """The newest checkpoint whose every byte verifies, and what was wrong with newer ones.

    The first rank says which there are, all read a part of each. `before_step` leaves out checkpoints of that step and
    later ones.
    """
    problems: list[str] = []
    for folder in first_ranks(list(reversed(complete_checkpoints(checkpoints))) if ranks.is_first else None):
        if before_step is not None and step_of(folder) >= before_step:
            continue
        problem = damage_to_any(folder)
        if problem is None:
            return folder, problems
        problems.append(f"{folder.name}: {problem}")
    return None, problems


def damage_to_any(folder: Path) -> str | None:
    """`damage`, each rank reading its part of the files: one alone would keep the others waiting beyond their limit."""
    found = all_ranks(damage(folder, (dist.get_rank(), dist.get_world_size())))
    return "; ".join(dict.fromkeys(problem for problem in found if problem)) or None


def step_of(folder: Path) -> int:
    """The step in a checkpoint folder's name."""
    return int(folder.name.removeprefix("step_"))


def delete_checkpoint(folder: Path) -> None:
    """Delete one; its marker first, so that a kill in the middle leaves nothing that looks whole."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder)


def set_aside(folder: Path) -> None:
    """Give a damaged checkpoint another name, so that it is counted no more among those that a run can go on from."""
    target = folder.with_name(f"{DAMAGED}{folder.name}")
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)


def delete_leftovers(checkpoints: Path) -> None:
    """Delete what killed saves left behind."""
    for leftover in checkpoints.glob(".*_*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)


def read_marker(folder: Path) -> dict[str, Any]:
    """The facts of a checkpoint. Raises CheckpointError where the folder is none, or not a complete one."""
    path = folder / MARKER
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: not a complete checkpoint (no {MARKER}); checkpoints lie in runs/NAME/checkpoints/step_*"
        )
    try:
        marker: dict[str, Any] = {**json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); take an older checkpoint") from error
    return marker


def check_architecture(folder: Path, config: Config, vocab_size: int) -> None:
    """Raise CheckpointError, naming each difference, if the checkpoint is of another model than `config`'s."""
    others = differences(read_marker(folder), config.model, vocab_size)
    if others:
        raise CheckpointError(
            f"{folder}: a checkpoint of another architecture: {'; '.join(others)}; "
            "use its own recipe, or start a new run with another --run-dir"
        )


def check_data(folder: Path, data: dict[str, str]) -> None:
    """Raise CheckpointError if a dataset was made anew since the run began; `data` is `data_facts` of now."""
    before = read_marker(folder).get("data", data)
    changed = [path for path, checksum in data.items() if before.get(path, checksum) != checksum]
    if changed:
        raise CheckpointError(
            f"{folder}: trained on another version of {', '.join(changed)} (its tokens changed since); "
            f"start a new run with another --run-dir, or delete {folder.parent.parent}"
        )


def marker_facts(config: Config, vocab_size: int, facts: list[DatasetFacts]) -> dict[str, Any]:
    """What a marker says besides the run's counters: enough to judge and load the checkpoint without the recipe."""
    return {
        "format": FORMAT,
        "vocab_size": vocab_size,
        "distributed_optimizer": config.parallel.distributed_optimizer,
        "optimizer_states": config.optimizer.states,
        "model": config.model.model_dump(mode="json"),
        "tokenizer_sha256": facts[0].tokenizer_sha256,
        "data": data_facts(facts),
        "saved": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def data_facts(facts: list[DatasetFacts]) -> dict[str, str]:
    """Checksums of the training tokens by dataset folder."""
    return {str(fact.folder): fact.train_sha256 for fact in facts}


def load_checkpoint(folder: Path, training: Training, config: Config, vocab_size: int) -> None:
    """Load a checkpoint, whatever layout wrote it; `newest_good` has verified its files. All ranks call it.

    Raises CheckpointError for another architecture or a file that cannot be read.
    """
    check_architecture(folder, config, vocab_size)
    marker = read_marker(folder)
    states = marker.get("optimizer_states", "fp32")
    if states != config.optimizer.states:
        raise CheckpointError(
            f"{folder}: saved with optimizer.states={states}, whose master weights are of another form; "
            f"set optimizer.states={states}"
        )
    was_distributed = marker.get("distributed_optimizer", True)
    is_distributed = config.parallel.distributed_optimizer
    if was_distributed != is_distributed and config.precision.dtype != "fp32":
        raise CheckpointError(
            f"{folder}: saved with parallel.distributed_optimizer={was_distributed}, which only FP32 runs can change; "
            f"set parallel.distributed_optimizer={str(was_distributed).lower()}"
        )
    sharded = training.sharded_state(is_loading=True)
    # the optimizer apart: its own copies of the weights may be read from the weights, and a name is read once a load
    parts = {"optimizer": sharded.pop("optimizer")}
    if is_distributed and not was_distributed:
        optimizer_conversion.point_own_copies_at_weights(parts["optimizer"])
    try:
        loaded = dist_checkpointing.load(sharded, str(folder))
        loaded["optimizer"] = dist_checkpointing.load(parts, str(folder))["optimizer"]
    except (CheckpointingException, OSError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{folder}: cannot be read: {type(error).__name__}: {reason}; delete this folder to continue from the "
            "checkpoint before it"
        ) from error
    if is_distributed and not was_distributed:
        optimizer_conversion.groups_from_plain(loaded["optimizer"])
    if was_distributed and not is_distributed:
        optimizer_conversion.groups_from_distributed(loaded["optimizer"])
    # no reload_model_params() after it: that would round the FP32 master weights to the model's BF16
    with own_pickles_are_trusted():
        training.load_state(loaded)


@contextmanager
def own_pickles_are_trusted() -> Iterator[None]:
    """Let Transformer Engine read the scaling history of FP8, which it pickles and else refuses to read.

    A pickle can run code when it is read. What is read here is the run's own file, whose checksum was verified, and of
    which torch's reader has unpickled other parts before.
    """
    with environment_variable(TRUST_PICKLES, "1"):
        yield
