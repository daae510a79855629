"""How runs are started on GPUs: each has one for itself, or a part of one.

A short run of a small model spends more time on its start, when it needs no GPU, than on its training: several that
share one keep it busy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import read_dataset_facts, vocabulary
from megatron_recipe.errors import ConfigError
from megatron_recipe.lab.machine import Machine
from megatron_recipe.lab.starters import TRAIN, Process, Starter, commands
from megatron_recipe.mix import corpus_paths
from megatron_recipe.plan.hardware import Hardware
from megatron_recipe.plan.resolve import resolve


def on_gpus(machine: Machine, module: tuple[str, ...] = TRAIN) -> Starter:
    """Each run is a command on the GPU of its slot, and takes no more memory than its part."""
    start, hardware = commands(machine.devices, module), machine.hardware
    if machine.sharing == 1 or hardware is None:
        return start

    def start_in_part(config: Config, folder: Path, slot: int) -> Process:
        return start(fitted(config, hardware), folder, slot)

    return start_in_part


@contextmanager
def naming_parts(machine: Machine) -> Iterator[None]:
    """Add to a mistake that names a part of a GPU that a larger part is to be had."""
    try:
        yield
    except ConfigError as error:
        if machine.sharing == 1 or machine.hardware is None or machine.hardware.card not in str(error):
            raise
        raise ConfigError(f"{error}; or let fewer runs share a GPU than --jobs {machine.sharing}") from error


def fitted(config: Config, hardware: Hardware) -> Config:
    """`auto` as the numbers that fit into a part of a GPU: the trainer itself would choose for all of it."""
    facts = [read_dataset_facts(Path(path)) for path in corpus_paths(config)]
    return resolve(config, vocabulary(config.model, facts), hardware, 1)
