"""Whether the packages of fast kernels do their work on this card, tried once on a few numbers.

They compile their kernels when they are first called, and fail then in ways that no version number foretells: a
compiler of another release beside them, a card that is too new, a folder that they do not take for an installed package
(quack 0.6.5 outside `site-packages`). A run that was not told to use them goes on without.
"""

import os
from collections.abc import Callable
from functools import cache
from math import isnan
from typing import Any

import torch
from torch import Tensor

from megatron_recipe.config import Config
from megatron_recipe.console import say
from megatron_recipe.errors import in_short
from megatron_recipe.kernels import PACKAGES, QUACK, Part, is_installed

ROWS, FFN = 512, 768
ROWS_OF_LOGITS = 64
HEADS, GROUPS, HEAD_DIM = 8, 2, 128
LARGEST_ERROR = 2e-2
"""‖out − reference‖ / ‖reference‖ of BF16 products: some 3e-3, NaN never passes."""
FP32_WEIGHT = 100
"""Losses are FP32: a hundredth of that error is too much."""
EPSILON = 1e-5
INSTEAD: dict[Part, str] = {
    "layer": "Transformer Engine's layers take their place, 5 % slower; set kernels.layer=engine to try no more",
    "attention": "cuDNN's attention takes its place, 2 % slower; set kernels.attention=cudnn to try no more",
}


def runs_here(part: Part, config: Config) -> bool:
    """Whether the fast kernels of a part are installed and compute what they should; says why not, once.

    Of the loss only whether they are installed: `loss_runs_here` tries them with the run's vocabulary.
    """
    if not is_installed(PACKAGES[part]):
        return False
    return part == "loss" or _part_works(part, config.model.hidden_size)


@cache
def _part_works(part: Part, width: int) -> bool:
    trials: dict[Part, Callable[[], float]] = {
        "layer": lambda: fused_layer_error(width),
        "attention": flash_attention_error,
    }
    return _works(trials[part], f"{PACKAGES[part]} is installed, but its kernels cannot be used here", INSTEAD[part])


@cache
def loss_runs_here(vocabulary: int, padded: int) -> bool:
    """Whether quack's cross entropy computes what it should of rows of `padded` logits; says why not, once.

    Of 151,936 quack 0.6.5 makes NaN in validation: the last of 16 blocks of threads has no logits of a row.
    vocabulary: those of them that stand for tokens.
    """
    return _works(
        lambda: one_pass_loss_error(vocabulary, padded),
        f"{QUACK}' cross entropy cannot be used with a vocabulary of {padded:,}",
        "Transformer Engine's takes its place, 1 % slower; set kernels.loss=engine to try no more",
    )


def _works(trial: Callable[[], float], problem: str, instead: str) -> bool:
    """Whether a trial's error is that of rounding; where it is not, rank 0 says so."""
    try:
        # whatever the model is built in, an export's comparison for instance
        card = torch.cuda.device(int(os.environ.get("LOCAL_RANK", "0")))
        with torch.inference_mode(mode=False), torch.enable_grad(), card:
            error = trial()
        reason = None if error < LARGEST_ERROR else f"wrong numbers, {error:.0%} off"
    except Exception as failure:  # whatever it is, the run has another way
        reason = in_short(failure)
    if reason and os.environ.get("RANK", "0") == "0":
        say(f"{problem} ({reason}); {instead}")
    return reason is None


def fused_layer_error(width: int) -> float:
    """The largest relative error of what is fused in a layer of this hidden size, and of its gradients, against FP32.

    A norm of a sum, and a feed-forward with its residual: all of `LayerKernels`, in the tiles that the run has.
    """
    from megatron_recipe.fused_layer import feed_forward, norm_of_sum
    from megatron_recipe.layer_kernels import QuackKernels

    shapes = (ROWS, 1, width), (ROWS, 1, width), (width,), (2 * FFN, width), (width, FFN)
    scales = 1.0, 1.0, 1.0, width**-0.5, FFN**-0.5
    fast = [
        (numbers(*shape, seed=place) * scale).requires_grad_()
        for place, (shape, scale) in enumerate(zip(shapes, scales, strict=True))
    ]
    exact = [tensor.detach().float().requires_grad_() for tensor in fast]
    x, residual, norm, up, down = fast
    weights: list[Any] = [up, down]
    for weight in weights:
        weight.main_grad = torch.zeros_like(weight, dtype=torch.float32)
    kernels = QuackKernels()
    normed, summed = norm_of_sum(x, residual, norm, EPSILON, kernels)
    out = feed_forward(normed, summed, up, down, kernels)
    reference = plain_layer(*exact)
    back = numbers(*reference.shape, seed=len(fast))
    out.backward(back)
    reference.backward(back.float())
    gradients = [x.grad, residual.grad, norm.grad, *(weight.main_grad for weight in weights)]
    pairs = zip(gradients, (tensor.grad for tensor in exact), strict=True)
    return largest(relative(out, reference), *(relative(*pair) for pair in pairs))


def plain_layer(x: Tensor, residual: Tensor, norm: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """What the fused parts compute, by torch.

    x, residual: [rows, 1, width]; norm: [width]; up: [2 × ffn, width]; down: [width, ffn].
    """
    summed = x + residual
    normed = torch.nn.functional.rms_norm(summed, norm.shape, norm, EPSILON)
    gate, other = (normed @ up.T).chunk(2, dim=-1)
    return (torch.nn.functional.silu(gate) * other) @ down.T + summed


def one_pass_loss_error(vocabulary: int, padded: int) -> float:
    """The largest relative error of losses in validation and in training, and of the gradient, against FP32."""
    from megatron_recipe.one_pass_loss import cross_entropy

    logits = 4 * numbers(ROWS_OF_LOGITS, padded)  # a gradient of flat logits is nearly all -1, at the label
    logits[:, vocabulary:] = torch.finfo(logits.dtype).min  # as `padded_vocabulary` has it
    labels = torch.arange(ROWS_OF_LOGITS, device=logits.device) * (vocabulary // ROWS_OF_LOGITS)
    wide = logits.float().requires_grad_()
    exact = torch.nn.functional.cross_entropy(wide, labels, reduction="none")
    (exact_gradient,) = torch.autograd.grad(exact.sum(), wide)
    validated = cross_entropy(logits, labels)
    logits.requires_grad_()
    losses = cross_entropy(logits * 1, labels)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    of_losses = largest(relative(validated, exact), relative(losses, exact))
    return largest(FP32_WEIGHT * of_losses, relative(gradient, exact_gradient))


def flash_attention_error() -> float:
    """Relative error of causal attention, against FP32."""
    from megatron_recipe.flash_attention import causal_attention

    query, key, value = (numbers(ROWS, 2, heads, HEAD_DIM) for heads in (HEADS, GROUPS, GROUPS))
    out = causal_attention(query, key, value)
    wide = [tensor.float().permute(1, 2, 0, 3) for tensor in (query, key, value)]
    wide[1:] = [tensor.repeat_interleave(HEADS // GROUPS, dim=1) for tensor in wide[1:]]
    reference = torch.nn.functional.scaled_dot_product_attention(*wide, is_causal=True)
    return relative(out, reference.permute(2, 0, 1, 3).flatten(2))


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """BF16 numbers on the card, from a generator of their own: the run's seeds are not touched."""
    generator = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(*shape, device="cuda", generator=generator).bfloat16()


def relative(out: Tensor, reference: Tensor) -> float:
    """‖out − reference‖ / ‖reference‖."""
    return float((out.float() - reference).norm() / reference.norm())


def largest(*errors: float) -> float:
    """NaN where one is: Python's own `max` would depend on their order."""
    return max(errors, key=lambda error: float("inf") if isnan(error) else error)
