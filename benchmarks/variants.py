"""Variants of a recipe that are measured one after the other: how they are written, built, and given back."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch

from benchmarks.bare_loop import BareLoop
from benchmarks.peers.loop import PeerLoop, fast_attention, plain
from benchmarks.peers.models import PEERS
from benchmarks.pinned_tiles import TILES, tiles_of_layers
from benchmarks.step_times import Loop
from megatron_recipe.config import Config
from megatron_recipe.environment import environment_variable
from megatron_recipe.errors import ConfigError
from megatron_recipe.recipes import load_config
from megatron_recipe.this_machine import choose, hardware_here


@dataclass(frozen=True)
class Variant:
    """What differs from the recipe."""

    name: str
    overrides: tuple[str, ...]
    recipe: str | None = None
    """Another recipe than the others'."""
    peer: str | None = None
    """A peer's model in the recipe's shape instead of ours."""
    tiles: str | None = None
    """Of the fused layers' products (benchmarks/pinned_tiles.py)."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables for libraries that are told by nothing else."""

    @classmethod
    def read(cls, name: str, settings: str) -> "Variant":
        """From `section.field=value,…`; also `recipe=`, `peer=`, `tiles=` and `env.VARIABLE=`. `-` is no setting."""
        overrides, environment = [], []
        named: dict[str, str] = {}
        # a comma inside a value, such as two datasets, is followed by no name
        for setting in re.split(r",(?=[\w.]+=)", settings) if settings != "-" else ():
            key, separator, value = setting.partition("=")
            if not separator:
                raise ConfigError(f"variant {name}: {setting!r} is no setting; write section.field=value")
            if key in ("recipe", "peer", "tiles"):
                named[key] = value
            elif key.startswith("env."):
                environment.append((key.removeprefix("env."), value))
            else:
                overrides.append(setting)
        if named.get("peer", "litgpt-bf16") not in PEERS:
            raise ConfigError(f"variant {name}: unknown peer {named['peer']!r}; known: {', '.join(PEERS)}")
        if named.get("tiles", "128x128") not in TILES:
            raise ConfigError(f"variant {name}: tiles={named['tiles']} is not one of {', '.join(TILES)}")
        return cls(name, tuple(overrides), environment=tuple(environment), **named)

    def config(self, recipe: str, common: tuple[str, ...]) -> Config:
        """The recipe's, with what all variants share and then what is this one's."""
        return load_config(self.recipe or recipe, (*common, *self.overrides))


@contextmanager
def built(variant: Variant, config: Config, recipe: str, vocab_size: int, device: torch.device) -> Iterator[Loop]:
    """The variant's loop, ready to step, in the environment that it asks for."""
    with ExitStack() as around:
        for name, value in variant.environment:
            around.enter_context(environment_variable(name, value))
        if variant.peer is None:
            chosen = choose(config, vocab_size, 1, variant.recipe or recipe, hardware_here())
            with tiles_of_layers(variant.tiles):
                loop = BareLoop(chosen, vocab_size, device)
            yield loop
            return
        around.enter_context(fast_attention(device))
        peer = PEERS[variant.peer]
        # beside Megatron, torch.compile does not go with what cpu_backend puts in CUDA's place
        peer = peer if device.type == "cuda" else plain(peer)
        loop = PeerLoop(peer, config, vocab_size, config.batch.global_batch_size_samples, device)
        asked = config.batch.micro_batch_size_samples
        loop.use(4 if asked == "auto" else asked)
        yield loop
