"""Which tiles a product has, and how quack is told."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from megatron_recipe import layer_kernels
from megatron_recipe.layer_kernels import QuackKernels
from megatron_recipe.product_tiles import MEASURED, Product, Tiles, hopper_tiles


@dataclass
class Configuration:
    """Stands for quack's GemmConfig."""

    tile_m: int
    tile_n: int
    pingpong: bool
    cluster_m: int
    cluster_n: int
    is_dynamic_persistent: bool
    device_capacity: int


@pytest.fixture
def quack(monkeypatch):
    monkeypatch.setitem(sys.modules, "quack", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "quack.gemm_config", SimpleNamespace(GemmConfig=Configuration))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    layer_kernels._quacks_name.cache_clear()
    yield
    layer_kernels._quacks_name.cache_clear()


def test_every_product_has_tiles_for_every_width():
    for product in get_args(Product):
        for width in (1, 768, 1024, 1025, 2048, 4096, 1 << 20):
            assert hopper_tiles(product, width).rows in (128, 256)
        assert list(MEASURED[product]) == sorted(MEASURED[product])  # the first that is wide enough is taken


def test_few_columns_are_not_computed_in_tiles_that_they_leave_empty():
    for product in ("sum", "to input", "to weight"):
        assert 1024 % hopper_tiles(product, 1024).columns == 0
        assert 768 % hopper_tiles(product, 768).columns == 0


def test_equal_tiles_are_one_object_that_stays(quack):
    """quack 0.6.5 knows a kernel by the address of its configuration."""
    kernels = QuackKernels()
    first, again = (kernels._how("sum", 2048)["config"] for _ in range(2))
    assert first is again
    assert (first.tile_m, first.tile_n, first.pingpong) == (128, 256, False)
    other = QuackKernels(lambda product, width: Tiles(128, 192, ping_pong=True))._how("sum", 2048)["config"]
    assert other is not first and other.tile_n == 192
    assert other is QuackKernels(lambda product, width: Tiles(128, 192, ping_pong=True))._how("gated", 1)["config"]


def test_other_cards_have_quacks_own_tiles(quack, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (10, 0))
    assert QuackKernels()._how("to input", 2048) == {"dynamic_scheduler": True}
