"""Cross entropy whose gradient is there as soon as the loss is: the logits are read once and written once.

Each row of logits lies in the registers of one block of threads, or of a few that exchange their sums, which knows the
row's softmax before it lets go of it (quack's kernel). Transformer Engine's, which waits for the gradient that comes
back, reads the logits twice. What comes back is 1 for each token that counts and 0 for each other, since Megatron
divides by the number of tokens afterwards: rows of any other factor than 1 are multiplied by it here.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS_OF_A_PROGRAM = 16
COLUMNS_AT_ONCE = 4096


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Losses in nats, FP32, [rows]. labels: [rows]; logits: [rows, vocabulary] of 16 bits.

    Where the logits' gradient is wanted it takes their place. For Hopper cards and newer, with the package
    quack-kernels.
    """
    from quack.cross_entropy import cross_entropy_fwd

    wants_gradient = torch.is_grad_enabled() and logits.requires_grad
    losses: Tensor = _CrossEntropy.apply(logits, labels) if wants_gradient else cross_entropy_fwd(logits, labels)
    return losses


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        from quack.cross_entropy import cross_entropy_fwd

        losses: Tensor
        losses, gradient = cross_entropy_fwd(logits, labels, return_dx=True, inplace_backward=True)
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (factors,) = gradients
        (gradient,) = ctx.saved_tensors
        multiply_rows(gradient, factors)
        return gradient, None


def multiply_rows(values: Tensor, factors: Tensor) -> None:
    """Multiply each row by its factor, in place; those of factor 1 are not touched.

    values: [rows, width], one after the other; factors: [rows].
    """
    rows, width = values.shape
    assert values.is_contiguous() and factors.shape == (rows,)
    programs = (triton.cdiv(rows, ROWS_OF_A_PROGRAM),)
    _multiply_rows[programs](
        values, factors.contiguous(), rows, WIDTH=width, ROWS=ROWS_OF_A_PROGRAM, COLUMNS=COLUMNS_AT_ONCE, num_warps=8
    )


@triton.jit
def _multiply_rows(  # type: ignore[no-untyped-def]
    values, factors, rows, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    first = tl.program_id(0).to(tl.int64) * ROWS
    for place in range(ROWS):
        row = first + place
        factor = tl.load(factors + row, row < rows, other=1.0)
        if factor != 1.0:
            for start in range(0, WIDTH, COLUMNS):
                column = start + tl.arange(0, COLUMNS)
                at = values + row * WIDTH + column
                value = tl.load(at, column < WIDTH)
                tl.store(at, (value.to(tl.float32) * factor).to(value.dtype), column < WIDTH)
