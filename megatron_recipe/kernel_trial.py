"""Whether the packages of fast kernels do their work on this card, tried once on a few numbers.

They compile their kernels when they are first called, and fail then in ways that no version number foretells: a
compiler of another release beside them, a card that is too new, a folder that they do not take for an installed package
(quack 0.6.5 outside `site-packages`). A run that was not told to use them goes on without.
"""

import os
from collections.abc import Callable
from functools import cache

import torch

from megatron_recipe.console import say
from megatron_recipe.errors import in_short
from megatron_recipe.kernels import FLASH_ATTENTION, QUACK, is_installed

ROWS, WIDTH, FFN = 512, 256, 768
VOCABULARY = 32_768
"""A row of logits takes two blocks of threads, as with most tokenizers."""
HEADS, GROUPS, HEAD_DIM = 8, 2, 128
LARGEST_ERROR = 2e-2
"""‖out − reference‖ / ‖reference‖ of BF16 products: some 3e-3, NaN never passes."""
INSTEAD = {
    QUACK: "Transformer Engine's layers and cross entropy take their place, 6 % slower; set kernels.layer=engine "
    "and kernels.loss=engine to try no more",
    FLASH_ATTENTION: "cuDNN's attention takes its place, 2 % slower; set kernels.attention=cudnn to try no more",
}


def runs_here(package: str) -> bool:
    """Whether a package is installed and its kernels compute what they should; says why not, once."""
    return is_installed(package) and _failure(package) is None


@cache
def _failure(package: str) -> str | None:
    """Why a package's kernels cannot be used; None where they can."""
    trials: dict[str, Callable[[], float]] = {QUACK: quack_error, FLASH_ATTENTION: flash_attention_error}
    try:
        with torch.cuda.device(int(os.environ.get("LOCAL_RANK", "0"))):
            error = trials[package]()
        reason = None if error < LARGEST_ERROR else f"it computes wrong numbers, {error:.0%} off"
    except Exception as failure:  # whatever it is, the run has another way
        reason = in_short(failure)
    if reason and os.environ.get("RANK", "0") == "0":
        say(f"{package} is installed, but its kernels cannot be used here ({reason}); {INSTEAD[package]}")
    return reason


def quack_error() -> float:
    """The largest relative error, against FP32, of products around SwiGLU and of the gradient of a cross entropy."""
    from megatron_recipe.layer_kernels import QuackKernels

    kernels = QuackKernels()
    x, weight = numbers(ROWS, WIDTH), numbers(2 * FFN, WIDTH) / WIDTH**0.5
    gate_up, activation = kernels.gated_product(x, weight)
    gate, up = (x.float() @ weight.float().T).chunk(2, dim=-1)
    exact = torch.nn.functional.silu(gate) * up
    gate_first = torch.cat([gate_up[:, ::2], gate_up[:, 1::2]], dim=-1).float()
    back = relative(kernels.gate_up_to_input(gate_up, weight), gate_first @ weight.float())
    # the largest of tensors, not of floats: NaN is the largest
    return float(torch.tensor([relative(activation, exact), back, one_pass_loss_error()]).max())


def one_pass_loss_error() -> float:
    """Relative error of the gradient of a cross entropy."""
    from megatron_recipe.one_pass_loss import cross_entropy

    logits = numbers(ROWS, VOCABULARY)
    labels = torch.arange(ROWS, device=logits.device) * 61
    wide = logits.float().requires_grad_()
    (exact,) = torch.autograd.grad(torch.nn.functional.cross_entropy(wide, labels, reduction="sum"), wide)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(logits * 1, labels).sum(), logits)
    return relative(gradient, exact)


def flash_attention_error() -> float:
    """Relative error of causal attention, against FP32."""
    from megatron_recipe.flash_attention import causal_attention

    query, key, value = (numbers(ROWS, 2, heads, HEAD_DIM) for heads in (HEADS, GROUPS, GROUPS))
    out = causal_attention(query, key, value)
    wide = [tensor.float().permute(1, 2, 0, 3) for tensor in (query, key, value)]
    wide[1:] = [tensor.repeat_interleave(HEADS // GROUPS, dim=1) for tensor in wide[1:]]
    reference = torch.nn.functional.scaled_dot_product_attention(*wide, is_causal=True)
    return relative(out, reference.permute(2, 0, 1, 3).flatten(2))


def numbers(*shape: int) -> torch.Tensor:
    """BF16 numbers on the card, from a generator of their own: the run's seeds are not touched."""
    generator = torch.Generator("cuda").manual_seed(sum(shape))
    return torch.randn(*shape, device="cuda", generator=generator).bfloat16()


def relative(out: torch.Tensor, reference: torch.Tensor) -> float:
    """‖out − reference‖ / ‖reference‖."""
    return float((out.float() - reference).norm() / reference.norm())
