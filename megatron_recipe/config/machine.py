"""How the run is spread over GPUs, and its arithmetic."""

from typing import Literal

from pydantic import Field

from megatron_recipe.settings import Section


class ParallelConfig(Section):
    """How the model is spread over ranks; what remains of the ranks is data parallel."""

    tensor: int = Field(default=1, gt=0)
    """Ranks that share each matrix."""
    pipeline: int = Field(default=1, gt=0)
    """Ranks that share the layers, one stage after the other."""
    virtual_stages: int = Field(default=1, gt=0)
    """Pieces of each pipeline stage, interleaved; 1 is off."""
    context: int = Field(default=1, gt=0)
    """Ranks that share each sequence; needs Transformer Engine."""
    sequence_parallel: bool = False
    """Also split norms and residuals along the sequence among the tensor-parallel ranks."""
    distributed_optimizer: bool = True
    """Split the optimizer states among the data-parallel ranks (ZeRO 1)."""
    overlap_grad_reduce: bool = True
    """Sum gradients over the data-parallel ranks while the backward pass still computes; false waits for its end."""
    overlap_param_gather: bool = True
    """Gather the updated weights while the next forward pass computes (distributed optimizer); false waits for them."""
    timeout_seconds: int = Field(default=600, gt=0)
    """How long a rank waits for the others before the run is given up as hung, with every rank's stack printed."""


class MemoryConfig(Section):
    """What is computed twice to save memory."""

    recompute: Literal["none", "selective", "full", "auto"] = "auto"
    """`none` keeps all activations. `selective` computes the feed-forward's activation again in the backward pass
    (refused with FP8, where it saves nothing). `full` keeps each layer's input only: a third more arithmetic. `auto`
    takes the least that fits."""


class PrecisionConfig(Section):
    """Arithmetic of the training step."""

    dtype: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Weights and activations; master weights are FP32 in any case. `fp16` (cards before the A100) scales the loss by a
    number that is found while training."""
    gradients: Literal["fp32", "bf16"] = "fp32"
    """Type that gradients are summed in, over micro-batches and ranks. `bf16` saves 2 bytes a parameter, rounds at each
    addition, and goes with optimizer.states=bf16 alone."""
    fp8: Literal["off", "delayed", "tensorwise", "blockwise"] = "off"
    """Matrix products in FP8 on cards that have it (capability 8.9 and up), by its scaling: from past maxima
    (`delayed`), from each tensor (`tensorwise`), from blocks of 128 (`blockwise`, Hopper and up)."""
    initial_loss_scale: float = Field(default=4096.0, gt=0)
    """First loss scale of `fp16`; others don't read it."""
    loss_scale_window_steps: int = Field(default=1000, gt=0)
    """Steps without an overflow after which `fp16` doubles its scale."""


class KernelsConfig(Section):
    """Which kernels compute the model on a GPU: a run's numbers don't depend on them beyond rounding."""

    layer: Literal["auto", "engine", "fused"] = "auto"
    """`engine`: Transformer Engine's modules, one after the other. `fused`: SwiGLU and residual additions inside the
    matrix products beside them (BF16: the package quack-kernels, Hopper cards and newer), or SwiGLU and FP8 rounding in
    one (FP8: Transformer Engine's operations); needs parallel.tensor=1. `auto`: fused on Hopper cards and newer."""
    attention: Literal["auto", "cudnn", "flash"] = "auto"
    """`cudnn`: Transformer Engine's. `flash`: the package flash-attn-4, on Hopper cards and newer; needs
    parallel.context=1. `auto`: flash where it is there, else Transformer Engine's choice."""
    loss: Literal["auto", "fused", "engine", "megatron"] = "auto"
    """Cross entropy. `fused`: loss and gradient in one pass over the logits (BF16: the package quack-kernels, Hopper
    cards and newer; needs parallel.tensor=1; tried with the run's vocabulary, and `engine` where it fails). `engine`:
    Transformer Engine's, in two passes; both keep 2 bytes a logit. `megatron`: Megatron's own, with 10, and the one for
    FP16. `auto`: the first of these that can be."""
