"""The parts of a layer and the kernels that can compute each, as calls that `benchmarks.kernels` times."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.pinned_tiles import TILES, pinned_tiles
from megatron_recipe.config import ModelConfig
from megatron_recipe.layer_kernels import QuackKernels
from megatron_recipe.wgrad_fusion import add_weight_gradient

VOCABULARY = 32_000
Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One kernel for one part."""

    part: str
    kernel: str
    make: Callable[[], Call]
    """Makes the inputs and returns what is timed."""
    flops: float = 0.0


@dataclass(frozen=True)
class Shape:
    """A model's sizes and how many tokens are computed at once."""

    model: ModelConfig
    samples: int

    @property
    def tokens(self) -> int:
        """Of a micro-batch."""
        return self.samples * self.model.sequence_length_tokens

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each matrix."""
        model = self.model
        heads, groups = model.num_heads * model.head_dim, model.num_kv_groups * model.head_dim
        return {
            "qkv": (model.hidden_size, heads + 2 * groups),
            "proj": (heads, model.hidden_size),
            "gate and up": (model.hidden_size, 2 * model.ffn_hidden_size),
            "down": (model.ffn_hidden_size, model.hidden_size),
            "output layer": (model.hidden_size, VOCABULARY),
        }


def values(*shape: int, dtype: torch.dtype = torch.bfloat16, gradient: bool = False) -> Tensor:
    """Random values on the GPU."""
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype).requires_grad_(gradient)


def products(shape: Shape) -> Iterator[Case]:
    """Each matrix's three products."""
    yield Case("product 8192³", "cuBLAS", lambda: _product(values(8192, 8192), values(8192, 8192)), 2 * 8192.0**3)
    for name, (width, out) in shape.linears.items():
        flops = 2.0 * shape.tokens * width * out
        sizes = shape.tokens, width, out
        yield Case(f"{name}: forward", "cuBLAS", partial(_forward, *sizes), flops)
        yield Case(f"{name}: gradient of the input", "cuBLAS", partial(_to_input, *sizes), flops)
        yield Case(f"{name}: FP32 gradient of the weight", "TE, cuBLAS", partial(_to_weight, *sizes), flops)


def _forward(rows: int, width: int, out: int) -> Call:
    return _product(values(rows, width), values(out, width).T)


def _to_input(rows: int, width: int, out: int) -> Call:
    return _product(values(rows, out), values(out, width))


def _to_weight(rows: int, width: int, out: int) -> Call:
    x, gradient, into = values(rows, width), values(rows, out), values(out, width, dtype=torch.float32)
    return lambda: add_weight_gradient(x, gradient, into)


def _product(left: Tensor, right: Tensor) -> Call:
    return lambda: left @ right


def feed_forward(shape: Shape) -> Iterator[Case]:
    """SwiGLU with the products beside it: apart, and in one kernel."""
    yield from _apart(shape)
    yield from _within(shape, "quack, as chosen", QuackKernels())
    for tiles in TILES:
        yield from _within(shape, f"quack, {tiles}", pinned_tiles(tiles))


def _apart(shape: Shape) -> Iterator[Case]:
    """Each product and each pass over the activations for itself."""
    width, ffn, rows = shape.model.hidden_size, shape.model.ffn_hidden_size, shape.tokens

    def gated() -> Call:
        from megatron.core.fusions.fused_bias_swiglu import swiglu

        x, up = values(rows, width), values(2 * ffn, width)
        return lambda: swiglu(x @ up.T)

    def gated_backward() -> Call:
        from megatron.core.fusions.fused_bias_swiglu import swiglu_back

        gradient, down, gate_up = values(rows, width), values(width, ffn), values(rows, 2 * ffn)
        return lambda: swiglu_back(gradient @ down, gate_up)

    def with_sum() -> Call:
        x, down, residual = values(rows, ffn), values(width, ffn), values(rows, width)
        return lambda: x @ down.T + residual

    second = 2.0 * rows * width * ffn
    yield Case("gate and up, SwiGLU", "cuBLAS, Megatron", gated, 2 * second)
    yield Case("gradient of gate and up", "cuBLAS, Megatron", gated_backward, second)
    yield Case("down and residual", "cuBLAS, torch", with_sum, second)


def _within(shape: Shape, name: str, kernels: QuackKernels) -> Iterator[Case]:
    """The passes inside the products."""
    width, ffn, rows = shape.model.hidden_size, shape.model.ffn_hidden_size, shape.tokens

    def gated() -> Call:
        x, up = values(rows, width), values(2 * ffn, width)
        return lambda: kernels.gated_product(x, up)

    def gated_backward() -> Call:
        gradient, down, gate_up = values(rows, width), values(width, ffn), values(rows, 2 * ffn)
        return lambda: kernels.gated_product_backward(gradient, down, gate_up)

    def with_sum() -> Call:
        x, down, residual = values(rows, ffn), values(width, ffn), values(rows, width)
        return lambda: kernels.product_and_sum(x, down, residual)

    def to_input() -> Call:
        gradient, up = values(rows, 2 * ffn), values(2 * ffn, width)
        return lambda: kernels.gate_up_to_input(gradient, up)

    def to_weight() -> Call:
        x, gradient, into = values(rows, width), values(rows, 2 * ffn), values(2 * ffn, width, dtype=torch.float32)
        return lambda: kernels.add_gate_up_gradient(x, gradient, into)

    second = 2.0 * rows * width * ffn
    yield Case("gate and up, SwiGLU", name, gated, 2 * second)
    yield Case("gradient of gate and up, SwiGLU again", name, gated_backward, second)
    yield Case("down and residual", name, with_sum, second)
    yield Case("gate and up: gradient of the input", name, to_input, 2 * second)
    yield Case("gate and up: FP32 gradient of the weight", name, to_weight, 2 * second)


def norm(shape: Shape) -> Iterator[Case]:
    """Residual addition and RMSNorm, forward and backward."""
    width, rows = shape.model.hidden_size, shape.tokens

    def engine() -> Call:
        import transformer_engine.pytorch as te

        layer = te.RMSNorm(width, dtype=torch.bfloat16)
        x, residual, gradient = (
            values(rows, width, gradient=True),
            values(rows, width, gradient=True),
            values(rows, width),
        )

        def call() -> None:
            summed = x + residual
            torch.autograd.grad([layer(summed), summed], [x, layer.weight], [gradient, gradient])

        return call

    def fused() -> Call:
        kernels = QuackKernels()
        x, residual, weight = values(rows, width), values(rows, width), values(width)
        gradients = values(rows, width), values(rows, width)

        def call() -> None:
            _, summed, inverse_rms = kernels.norm(x, weight, residual, 1e-5)
            kernels.norm_backward(*gradients, summed, weight, inverse_rms)

        return call

    yield Case("norm and residual, both ways", "TE, torch", engine)
    yield Case("norm and residual, both ways", "quack, TE", fused)


def attention(shape: Shape) -> Iterator[Case]:
    """Causal attention forward and backward, and RoPE."""
    model, samples = shape.model, shape.samples
    length, heads, groups, width = model.sequence_length_tokens, model.num_heads, model.num_kv_groups, model.head_dim
    flops = 7.0 * length * samples * length * heads * width  # 2 products forward, 5 backward, half of the square

    def tensors() -> tuple[Tensor, ...]:
        return tuple(values(length, samples, count, width, gradient=True) for count in (heads, groups, groups))

    def cudnn() -> Call:
        import transformer_engine.pytorch as te

        module = te.DotProductAttention(
            heads, width, num_gqa_groups=groups, attention_dropout=0.0, attn_mask_type="causal", qkv_format="sbhd"
        )
        query, key, value = tensors()
        gradient = values(length, samples, heads * width)
        return lambda: torch.autograd.grad(module(query, key, value), [query, key, value], gradient)

    def flash() -> Call:
        from megatron_recipe.flash_attention import causal_attention

        query, key, value = tensors()
        gradient = values(length, samples, heads * width)
        return lambda: torch.autograd.grad(causal_attention(query, key, value), [query, key, value], gradient)

    def rope(turned: Callable[..., tuple[Tensor, ...]]) -> Call:
        group = heads // groups + 2
        qkv = values(length, samples, groups, group * width, gradient=True)
        angles = values(length, 1, 1, width, dtype=torch.float32)
        parts = [(group - 2) * width, width, width]
        gradients = [values(length, samples, count, width) for count in (heads, groups, groups)]

        return lambda: torch.autograd.grad(turned(qkv, angles, angles, parts), qkv, gradients)

    def engine_rope() -> Call:
        from transformer_engine.pytorch.attention.rope import apply_fused_qkv_rotary_pos_emb

        return rope(apply_fused_qkv_rotary_pos_emb)

    def triton_rope() -> Call:
        from megatron_recipe.rotary_kernels import turned_parts

        return rope(turned_parts)

    yield Case("attention, both ways", "TE, cuDNN", cudnn, flops)
    yield Case("attention, both ways", "flash-attn-4", flash, flops)
    yield Case("RoPE and parting of queries, keys, values", "TE", engine_rope)
    yield Case("RoPE and parting of queries, keys, values", "Triton", triton_rope)


def loss(shape: Shape) -> Iterator[Case]:
    """Cross entropy forward and backward. Its nanoseconds a token are of the whole model, not of a layer."""
    length, samples = shape.model.sequence_length_tokens, shape.samples

    def inputs() -> tuple[Tensor, Tensor, Tensor]:
        logits = values(length, samples, VOCABULARY, gradient=True)
        labels = torch.randint(VOCABULARY, (length, samples), device="cuda")
        return logits, labels, values(length, samples, dtype=torch.float32)

    def engine(overwrite: bool) -> Call:
        from transformer_engine.pytorch.cross_entropy import parallel_cross_entropy

        logits, labels, gradient = inputs()

        def call() -> None:
            # a copy first, since the kernel may write over what it reads
            losses = parallel_cross_entropy(logits * 1, labels, overwrite_input=overwrite)
            torch.autograd.grad(losses, logits, gradient)

        return call

    def one_pass() -> Call:
        from megatron_recipe.one_pass_loss import cross_entropy

        logits, labels, _ = inputs()

        def call() -> None:
            losses = cross_entropy((logits * 1).view(-1, VOCABULARY), labels.view(-1))
            torch.autograd.grad(losses.sum(), logits)

        return call

    def copies() -> Call:
        logits, *_ = inputs()

        return lambda: torch.autograd.grad(logits * 1, logits, logits.detach())

    yield Case("two copies of the logits", "torch", copies)
    yield Case("two copies and cross entropy", "TE", lambda: engine(overwrite=False))
    yield Case("two copies and cross entropy", "TE, over the logits", lambda: engine(overwrite=True))
    yield Case("two copies and cross entropy", "quack, one pass", one_pass)


PARTS = {
    "products": products,
    "feed_forward": feed_forward,
    "norm": norm,
    "attention": attention,
    "loss": loss,
}
