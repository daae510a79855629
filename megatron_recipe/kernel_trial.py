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
ROWS_OF_LOGITS = 64
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
    return is_installed(package) and _package_works(package)


@cache
def _package_works(package: str) -> bool:
    trials: dict[str, Callable[[], float]] = {QUACK: quack_error, FLASH_ATTENTION: flash_attention_error}
    return _works(trials[package], f"{package} is installed, but its kernels cannot be used here", INSTEAD[package])


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
        with torch.cuda.device(int(os.environ.get("LOCAL_RANK", "0"))):
            error = trial()
        reason = None if error < LARGEST_ERROR else f"wrong numbers, {error:.0%} off"
    except Exception as failure:  # whatever it is, the run has another way
        reason = in_short(failure)
    if reason and os.environ.get("RANK", "0") == "0":
        say(f"{problem} ({reason}); {instead}")
    return reason is None


def quack_error() -> float:
    """The larger relative error, against FP32, of a product with SwiGLU inside and of one of those on the way back."""
    from megatron_recipe.layer_kernels import QuackKernels

    kernels = QuackKernels()
    x, weight = numbers(ROWS, WIDTH), numbers(2 * FFN, WIDTH) / WIDTH**0.5
    gate_up, activation = kernels.gated_product(x, weight)
    gate, up = (x.float() @ weight.float().T).chunk(2, dim=-1)
    forward = relative(activation, torch.nn.functional.silu(gate) * up)
    all_gates_first = torch.cat([gate_up[:, ::2], gate_up[:, 1::2]], dim=-1)
    back = relative(kernels.gate_up_to_input(gate_up, weight), all_gates_first.float() @ weight.float())
    return largest(forward, back)


def one_pass_loss_error(vocabulary: int, padded: int) -> float:
    """The largest relative error of losses in validation and in training, and of the gradient, against FP32."""
    from megatron_recipe.one_pass_loss import cross_entropy

    logits = numbers(ROWS_OF_LOGITS, padded)
    logits[:, vocabulary:] = torch.finfo(logits.dtype).min  # as `padded_vocabulary` has it
    labels = torch.arange(ROWS_OF_LOGITS, device=logits.device) * (vocabulary // ROWS_OF_LOGITS)
    wide = logits.float().requires_grad_()
    exact = torch.nn.functional.cross_entropy(wide, labels, reduction="none")
    (exact_gradient,) = torch.autograd.grad(exact.sum(), wide)
    validated = cross_entropy(logits, labels)
    logits.requires_grad_()
    losses = cross_entropy(logits * 1, labels)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    pairs = (validated, exact), (losses, exact), (gradient, exact_gradient)
    return largest(*(relative(out, reference) for out, reference in pairs))


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


def largest(*errors: float) -> float:
    """NaN where one is: Python's own `max` would depend on their order."""
    return float(torch.tensor(errors).max())
