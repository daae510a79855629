"""Which kind of work a GPU kernel does, told by its name.

The first pattern of `PATTERNS` that a name holds decides. The names are those of cuBLAS, cuDNN, Transformer Engine,
torch (with Inductor's Triton kernels, named after the operations that they fuse), apex, quack and FlashAttention 4.
A kernel that does two kinds of work, such as a product with a SwiGLU in its epilogue, counts where most time goes.
"""

import re

GEMM = "GEMM"
ATTENTION = "attention"
SWIGLU = "SwiGLU"
CASTS = "casts, transposes"
NORM = "norm"
ROPE = "RoPE"
OPTIMIZER = "optimizer, clipping"
CROSS_ENTROPY = "cross entropy"
OTHER = "residual add, copies, fills, other"
CLASSES = (GEMM, ATTENTION, SWIGLU, CASTS, NORM, ROPE, OPTIMIZER, CROSS_ENTROPY, OTHER)

PATTERNS = (
    (ATTENTION, r"sdpa|flash_(fwd|bwd)|flash_?att|flashatt|flex_attention|multiheadattention|fmha|fused_attn"),
    (ATTENTION, r"compute_dot_do_o|convert_dq|maskedsoftmax|masked_softmax|transpose_to_bhsd|context_parallel"),
    # Transformer Engine computes FP8's scales with the machinery of its optimizers, whose names come next
    (CASTS, r"computescale|compute_scale|scaling_recipe|kernel_bulk|swizzle"),
    (OPTIMIZER, r"multi_tensor|(?<!h)adam|l2norm|lpnorm|normtwoops|foreach|clip_grad"),
    (CROSS_ENTROPY, r"cross_?entropy|online_softmax|log_?softmax|nll_loss|element_mul_kernel"),
    (CROSS_ENTROPY, r"^triton_.*_(exp|log|logsumexp|amax|max)_"),
    (GEMM, r"gemm|nvjet|cublas|splitk_?reduce|xmma|cutlass::kernel|^triton_tem_.*mm|hopperwgmma"),
    (SWIGLU, r"swiglu|silu|sigmoid|gated_act|fp8_gated|gated_kernel|gated_mxfp8|swi_?glu"),
    (NORM, r"rms_?norm|layer_?norm|rmsfinalreduce|normalization|_norm_kernel|^triton_.*rsqrt"),
    (ROPE, r"_part_and_turn|_turn_back_and_mix|rope|rotary|apply_rot|complex<float>|^triton_.*_(cos|sin)_"),
    (ROPE, r"^triton_(?=.*_neg)(?=.*_(cat|slice|split))"),  # cat(-x2, x1), as plain models rotate
    (OTHER, r"^mem(cpy|set)|fillfunctor|nccl|embedding|index"),
    (CASTS, r"(?<!broad)cast|transpose(?!_unsqueeze)|quantize|amax|swizzle|block_scaled|loadwithcast"),
    (CASTS, r"(bfloat16|float16|float8\w*)_copy_kernel"),
    (CASTS, r"^triton_poi_fused__to_copy(_(t|view|clone|permute|_unsafe_view))*(_\d+)?$"),
)
COMPILED = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in PATTERNS)


def kernel_class(name: str) -> str:
    """One of `CLASSES`."""
    return next((kind for kind, pattern in COMPILED if pattern.search(name)), OTHER)
