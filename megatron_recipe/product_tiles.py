"""Which part of a product one block of threads computes at a time: measured, for each product of a feed-forward.

quack takes 128 × 192 for every shape. A matrix whose columns are no multiple of that leaves a part of the last tiles
empty (with 1,024 columns a ninth of the arithmetic is for nothing), and a SwiGLU on the way out wants smaller tiles
where few numbers are summed, since then the writing is what takes long.
"""

from dataclasses import dataclass
from typing import Literal

HOPPER = 9
"""Compute capability of the cards that the tiles are for."""

Product = Literal["gated", "gated backward", "sum", "to input", "to weight"]


@dataclass(frozen=True)
class Tiles:
    """Size and order of a product's parts."""

    rows: int
    columns: int
    ping_pong: bool = False
    """Each of two groups of warps has a tile of its own, and writes while the other one computes; else both share
    one."""
    in_turn: bool = True
    """A block that is done takes the next tile, whichever that is; else each has its tiles from the beginning."""
    cluster: tuple[int, int] = (2, 1)
    """Blocks in rows and columns that load together what they share."""


SMALL = Tiles(128, 160, ping_pong=True)
QUACKS = Tiles(128, 192, ping_pong=True)
WIDE = Tiles(128, 256)
LARGE = Tiles(256, 192)

ANY_WIDTH = 1 << 30
MEASURED: dict[Product, dict[int, Tiles]] = {
    "gated": {ANY_WIDTH: QUACKS},
    "gated backward": {2048: SMALL, ANY_WIDTH: QUACKS},
    "sum": {
        768: Tiles(128, 192, ping_pong=True, in_turn=False),
        1024: Tiles(128, 256, in_turn=False, cluster=(1, 2)),
        ANY_WIDTH: Tiles(128, 256, in_turn=False),
    },
    "to input": {2048: WIDE, ANY_WIDTH: LARGE},
    "to weight": {768: QUACKS, 1024: Tiles(128, 256, in_turn=False), 2048: WIDE, ANY_WIDTH: LARGE},
}
"""The fastest of those tried, for models of up to so wide: gpt_100m, 300m, 1b, 3b and 7b on an H200, 2026-12-01
(`python -m benchmarks.kernels --only feed_forward --recipe …`). quack's own are up to 24 % slower."""


def hopper_tiles(product: Product, width: int) -> Tiles:
    """The fastest tiles of a product in the feed-forward of a model of this hidden size, on a Hopper card."""
    return next(tiles for widest, tiles in MEASURED[product].items() if width <= widest)
