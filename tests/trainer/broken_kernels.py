"""Those of `broken_configurations` that are choices of kernels."""

BROKEN_KERNELS = {
    "a fused layer needs whole matrices": (
        ["kernels.layer=fused", "parallel.tensor=2"],
        2,
        ["kernels.layer=fused", "parallel.tensor=2", "set parallel.tensor=1, or kernels.layer=auto"],
    ),
    "a fused layer is of 16 bits": (
        ["kernels.layer=fused"],
        1,
        ["kernels.layer=fused", "precision.dtype=fp32", "set kernels.layer=auto"],
    ),
    "a fused layer needs quack": (
        ["kernels.layer=fused"],
        1,
        ["kernels.layer=fused", "quack-kernels", "or set kernels.layer=auto"],
    ),
    "flash attention needs its package": (
        ["kernels.attention=flash"],
        1,
        ["kernels.attention=flash", "flash-attn-4", "or set kernels.attention=auto"],
    ),
    "Transformer Engine's cross entropy reads no FP16": (
        ["kernels.loss=engine", "precision.dtype=fp16"],
        1,
        ["kernels.loss=engine", "precision.dtype=fp16", "set kernels.loss=auto"],
    ),
    "a cross entropy in one pass needs whole rows": (
        ["kernels.loss=fused", "parallel.tensor=2"],
        2,
        ["kernels.loss=fused", "parallel.tensor=2", "set parallel.tensor=1, or kernels.loss=auto"],
    ),
    "a cross entropy in one pass is of BF16": (
        ["kernels.loss=fused", "precision.dtype=fp16"],
        1,
        ["kernels.loss=fused", "precision.dtype=fp16", "set kernels.loss=auto"],
    ),
    "a cross entropy in one pass needs quack": (
        ["kernels.loss=fused", "precision.dtype=bf16"],
        1,
        ["kernels.loss=fused", "quack-kernels", "or set kernels.loss=auto"],
    ),
}
