"""SwiGLU and its gradient, rounded to FP8 as they are and transposed, in one pass. Triton, for Hopper cards and newer.

An FP8 product on a Hopper card reads both matrices along the dimension that is summed, so each activation is wanted
twice: as it is, and transposed for the gradient of the weight.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

TOKENS, COLUMNS = 128, 64
"""Of a tile. A row of it is a whole memory sector or more, both ways."""


def swiglu(gate_up: Tensor, rounded: Tensor, transposed: Tensor, scale: Tensor, maximum: Tensor) -> None:
    """silu(gate) · up.

    gate_up: [tokens, 2 × width], gates first. Written: rounded [tokens, width] and transposed [width, tokens], FP8, of
    the values times `scale`; `maximum` of their magnitudes before, if it was smaller. The last two: [1], FP32.
    """
    tokens, width = rounded.shape
    _swiglu[_grid(tokens, width)](
        gate_up, rounded, transposed, scale, maximum, tokens, width,
        LARGEST=torch.finfo(rounded.dtype).max, TOKENS=TOKENS, COLUMNS=COLUMNS, num_warps=8,
    )  # fmt: skip


def swiglu_gradient(
    gradient: Tensor, gate_up: Tensor, rounded: Tensor, transposed: Tensor, scale: Tensor, maximum: Tensor
) -> None:
    """The gradient of gate_up, from that of silu(gate) · up.

    gradient: [tokens, width]. Written: rounded [tokens, 2 × width] and transposed [2 × width, tokens]; see `swiglu`.
    """
    tokens, width = gradient.shape
    _swiglu_gradient[_grid(tokens, width)](
        gradient, gate_up, rounded, transposed, scale, maximum, tokens, width,
        LARGEST=torch.finfo(rounded.dtype).max, TOKENS=TOKENS, COLUMNS=COLUMNS, num_warps=8,
    )  # fmt: skip


def _grid(tokens: int, width: int) -> tuple[int, int]:
    return triton.cdiv(width, COLUMNS), triton.cdiv(tokens, TOKENS)


@triton.jit
def _write(values, rounded, transposed, factor, token, column, tokens, width, is_there, LARGEST: tl.constexpr):  # type: ignore[no-untyped-def]
    scaled = tl.clamp(values * factor, -LARGEST, LARGEST).to(rounded.dtype.element_ty)
    tl.store(rounded + token * width + column, scaled, is_there)
    tl.store(transposed + tl.trans(column) * tokens + tl.trans(token), tl.trans(scaled), tl.trans(is_there))


@triton.jit
def _tile(tokens, width, TOKENS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    token = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)[:, None].to(tl.int64)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :].to(tl.int64)
    return token, column, (token < tokens) & (column < width)


@triton.jit
def _swiglu(  # type: ignore[no-untyped-def]
    gate_up, rounded, transposed, scale, maximum, tokens, width,
    LARGEST: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    token, column, is_there = _tile(tokens, width, TOKENS, COLUMNS)
    at = token * (2 * width) + column
    gate = tl.load(gate_up + at, is_there, other=0.0).to(tl.float32)
    up = tl.load(gate_up + at + width, is_there, other=0.0).to(tl.float32)
    activation = gate * tl.sigmoid(gate) * up
    tl.atomic_max(maximum, tl.max(tl.abs(activation)))
    _write(activation, rounded, transposed, tl.load(scale), token, column, tokens, width, is_there, LARGEST)


@triton.jit
def _swiglu_gradient(  # type: ignore[no-untyped-def]
    gradient, gate_up, rounded, transposed, scale, maximum, tokens, width,
    LARGEST: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    token, column, is_there = _tile(tokens, width, TOKENS, COLUMNS)
    at = token * (2 * width) + column
    gate = tl.load(gate_up + at, is_there, other=0.0).to(tl.float32)
    up = tl.load(gate_up + at + width, is_there, other=0.0).to(tl.float32)
    of_output = tl.load(gradient + token * width + column, is_there, other=0.0).to(tl.float32)
    sigmoid = tl.sigmoid(gate)
    of_gate = of_output * up * sigmoid * (1.0 + gate * (1.0 - sigmoid))
    of_up = of_output * gate * sigmoid
    tl.atomic_max(maximum, tl.maximum(tl.max(tl.abs(of_gate)), tl.max(tl.abs(of_up))))
    factor = tl.load(scale)
    _write(of_gate, rounded, transposed, factor, token, column, tokens, 2 * width, is_there, LARGEST)
    _write(of_up, rounded, transposed, factor, token, column + width, tokens, 2 * width, is_there, LARGEST)
