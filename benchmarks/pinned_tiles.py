"""quack's products with tiles of a given size instead of those that `product_tiles.hopper_tiles` chooses.

A matrix whose columns are no multiple of a tile's leaves a part of the last tiles empty: with 1,024 columns in tiles of
192 a ninth of the arithmetic is for nothing, with 2,048 a thirtieth. Which tiles are faster all the same is measured:
`benchmarks.kernels` for each product, `benchmarks.step_profile --variant NAME tiles=128x256` for a step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

from megatron_recipe.errors import ConfigError
from megatron_recipe.layer_kernels import QuackKernels
from megatron_recipe.product_tiles import Tiles

SIZES = {
    "128x192": Tiles(128, 192, ping_pong=True),
    "128x160": Tiles(128, 160, ping_pong=True),
    "128x128": Tiles(128, 128, ping_pong=True),
    "128x256": Tiles(128, 256),
    "256x128": Tiles(256, 128),
    "256x192": Tiles(256, 192),
}
"""Rows and columns. The first one is what quack takes by itself."""
ORDERS = {"": True, " given": False}
"""Tiles in turn, or given to the blocks of threads from the beginning."""
CLUSTERS = {"": (2, 1), " across": (1, 2)}
"""Two blocks load columns together, or rows."""
TILES = {
    f"{size}{order}{cluster}": replace(tiles, in_turn=ORDERS[order], cluster=CLUSTERS[cluster])
    for size, tiles in SIZES.items()
    for order in ORDERS
    for cluster in CLUSTERS
}


def pinned_tiles(tiles: str) -> QuackKernels:
    """`QuackKernels` with one size of tiles for all products. tiles: one of `TILES`."""
    if tiles not in TILES:
        raise ConfigError(f"tiles={tiles}: not one of {', '.join(TILES)}")
    return QuackKernels(lambda product, width: TILES[tiles])


@contextmanager
def tiles_of_layers(tiles: str | None) -> Iterator[None]:
    """Fused layers that are built inside have these tiles; None leaves those that are chosen for them."""
    if tiles is None:
        yield
        return
    kernels = pinned_tiles(tiles)
    with patch("megatron_recipe.engine_layers.QuackKernels", lambda: kernels):
        yield
