"""quack's products with tiles of a given size instead of its default ones, 128 × 192 for every shape on Hopper cards.

A matrix whose columns are no multiple of a tile's leaves a part of the last tiles empty: of 1,024 columns in tiles of
192 an eighth of the arithmetic is for nothing, of 2,048 a thirtieth. Which tiles are faster all the same is measured:
`benchmarks.kernels` for each product, `benchmarks.step_profile --variant NAME tiles=128x256` for a step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from megatron_recipe.errors import ConfigError
from megatron_recipe.layer_kernels import QuackKernels

COOPERATIVE = {"128x256": (128, 256), "256x128": (256, 128), "256x192": (256, 192)}
"""Both groups of warps compute one tile."""
PING_PONG = {"128x128": (128, 128), "128x160": (128, 160), "192x128": (192, 128)}
"""Each group has a tile of its own, and writes while the other computes."""
TILES = COOPERATIVE | PING_PONG


class PinnedTiles(QuackKernels):
    """`QuackKernels` with one size of tiles for all products. tiles: rows and columns, one of `TILES`."""

    def __init__(self, tiles: str) -> None:
        super().__init__()
        if tiles not in TILES:
            raise ConfigError(f"tiles={tiles}: not one of {', '.join(TILES)}")
        self.tiles = tiles

    def gated_product(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `LayerKernels.gated_product`."""
        from quack.gemm_interface import gemm_gated

        gate_up, activation = gemm_gated(
            x, weight.T, activation="swiglu", concat_layout=("B",), tuned=False, config=self._config()
        )
        return gate_up, activation

    def gated_product_backward(self, gradient: Tensor, weight: Tensor, gate_up: Tensor) -> tuple[Tensor, Tensor]:
        """See `LayerKernels.gated_product_backward`."""
        from quack.gemm_interface import gemm_dgated

        gate_up_gradient, activation = gemm_dgated(
            gradient, weight, gate_up, activation="swiglu", tuned=False, config=self._config()
        )
        return gate_up_gradient, activation

    def product_and_sum(self, x: Tensor, weight: Tensor, addend: Tensor) -> Tensor:
        """See `LayerKernels.product_and_sum`."""
        out = torch.empty_like(addend)
        self._multiply(x, weight.T, out, addend)
        return out

    def gate_up_to_input(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """See `LayerKernels.gate_up_to_input`."""
        out = gradient.new_empty(gradient.shape[0], weight.shape[1])
        self._multiply(gradient, weight, out, dynamic_scheduler=True, concat_layout=("B",))
        return out

    def add_gate_up_gradient(self, x: Tensor, gradient: Tensor, main_grad: Tensor) -> None:
        """See `LayerKernels.add_gate_up_gradient`."""
        how = {"dynamic_scheduler": True, "concat_layout": ("C", "out"), "add_to_output": True}
        self._multiply(gradient.T, x, main_grad, **how)

    def _multiply(self, left: Tensor, right: Tensor, out: Tensor, addend: Tensor | None = None, **how: Any) -> None:
        from quack.gemm_interface import gemm_tuned

        gemm_tuned.fn(left, right, out, addend, config=self._config(), **how)

    def _config(self) -> Any:
        from quack.gemm_config import GemmConfig

        rows, columns = TILES[self.tiles]
        return GemmConfig(
            tile_m=rows,
            tile_n=columns,
            pingpong=self.tiles in PING_PONG,
            cluster_m=2,
            cluster_n=1,
            is_dynamic_persistent=False,
            device_capacity=9,
        )


@contextmanager
def tiles_of_layers(tiles: str | None) -> Iterator[None]:
    """Fused layers that are built inside have these tiles; None leaves quack's own."""
    if tiles is None:
        yield
        return
    kernels = PinnedTiles(tiles)
    with patch("megatron_recipe.engine_layers.QuackKernels", lambda: kernels):
        yield
