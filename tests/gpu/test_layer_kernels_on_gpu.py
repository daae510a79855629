"""quack's kernels against plain torch in FP32."""

import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "trainer"))

TOKENS, WIDTH, FFN = 512, 256, 768


def relative(out: torch.Tensor, reference: torch.Tensor) -> float:
    """‖out − reference‖ / ‖reference‖."""
    return float((out.float() - reference.float()).norm() / reference.float().norm())


@pytest.fixture(params=[None, "128x192", "256x128"])
def pair(request):
    """quack's with the tiles that are chosen and with others (benchmarks/pinned_tiles.py)."""
    pytest.importorskip("quack")
    from torch_kernels import TorchKernels

    from benchmarks.pinned_tiles import pinned_tiles
    from megatron_recipe.layer_kernels import QuackKernels

    return pinned_tiles(request.param) if request.param else QuackKernels(), TorchKernels()


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def both(pair, name: str, *tensors: torch.Tensor | float | None):
    """A kernel's outputs, and the reference's from the same values in FP32."""
    fast, exact = (getattr(kernels, name) for kernels in pair)
    wide = [tensor.float() if isinstance(tensor, torch.Tensor) else tensor for tensor in tensors]
    return fast(*tensors), exact(*wide)


def assert_close(fast, exact) -> None:
    for out, reference in zip(fast, exact, strict=True) if isinstance(fast, tuple) else [(fast, exact)]:
        assert relative(out, reference) < 6e-3


@pytest.mark.parametrize("with_residual", [True, False])
def test_norm(pair, with_residual):
    x, weight = random(TOKENS, WIDTH), random(WIDTH)
    residual = random(TOKENS, WIDTH) if with_residual else None
    fast, exact = both(pair, "norm", x, weight, residual, 1e-5)
    assert_close(fast, exact)
    gradients = random(TOKENS, WIDTH), random(TOKENS, WIDTH)
    assert_close(*both(pair, "norm_backward", *gradients, fast[1], weight, fast[2]))


@pytest.mark.parametrize("width", [256, 1024, 2048, 3072])
def test_products(pair, width):
    """Models of widths that have tiles of their own."""
    x, up, down = random(TOKENS, width), random(2 * FFN, width) / width**0.5, random(width, FFN) / FFN**0.5
    fast, exact = both(pair, "gated_product", x, up)
    assert_close(fast, exact)
    gate_up, activation = fast
    residual, gradient = random(TOKENS, width), random(TOKENS, width)
    assert_close(*both(pair, "product_and_sum", activation, down, residual))
    fast, exact = both(pair, "gated_product_backward", gradient, down, gate_up)
    assert_close(fast, exact)
    assert_close(*both(pair, "gate_up_to_input", fast[0], up))


@pytest.mark.parametrize(("name", "rows"), [("add_gate_up_gradient", 2 * FFN), ("add_gradient", FFN)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [256, 1024, 2048, 3072])
def test_weight_gradients_are_added(pair, name, rows, dtype, width):
    x, gradient = random(TOKENS, width), random(TOKENS, rows)
    before = torch.randn(rows, width, device="cuda").to(dtype)
    fast, exact = before.clone(), before.float().clone()
    getattr(pair[0], name)(x, gradient, fast)
    getattr(pair[1], name)(x.float(), gradient.float(), exact)
    assert relative(fast, exact) < (1e-4 if dtype == torch.float32 else 6e-3)
    assert relative(fast, before) > 0.5
