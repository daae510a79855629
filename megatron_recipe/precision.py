"""What `precision:` means to Megatron: weight types, the FP16 loss scale, Transformer Engine's FP8 recipes."""

from typing import Any

import torch
from megatron.core.optimizer import MegatronOptimizer

from megatron_recipe.config import PrecisionConfig

WEIGHTS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def model_settings(precision: PrecisionConfig) -> dict[str, Any]:
    """Fields of Megatron's TransformerConfig."""
    dtype = WEIGHTS[precision.dtype]
    settings: dict[str, Any] = {
        "params_dtype": dtype,
        "pipeline_dtype": dtype,
        "bf16": precision.dtype == "bf16",
        "fp16": precision.dtype == "fp16",
    }
    if precision.fp8 == "off":
        return settings
    # E5M2 for the gradients' range; scales of their own for blocks of 128 leave no need for that range, and
    # Transformer Engine's blockwise recipe takes E4M3 throughout by default
    settings |= {"fp8": "e4m3" if precision.fp8 == "blockwise" else "hybrid", "fp8_recipe": precision.fp8}
    if precision.fp8 == "delayed":
        # Megatron's own default, the last step's maximum alone, overflows at the first larger value
        settings |= {"fp8_amax_history_len": 1024, "fp8_amax_compute_algo": "max"}
    return settings


def optimizer_settings(precision: PrecisionConfig, states: str = "fp32") -> dict[str, Any]:
    """Fields of Megatron's OptimizerConfig. states: type of the running means, as the configuration names it."""
    settings: dict[str, Any] = {
        "params_dtype": WEIGHTS[precision.dtype],
        "bf16": precision.dtype == "bf16",
        "fp16": precision.dtype == "fp16",
        "fp8_recipe": None if precision.fp8 == "off" else precision.fp8,
        "initial_loss_scale": precision.initial_loss_scale,
        "min_loss_scale": min(1.0, precision.initial_loss_scale),
        "loss_scale_window": precision.loss_scale_window_steps,
    }
    if states == "fp32":
        return settings
    return settings | {
        "use_precision_aware_optimizer": True,
        "main_grads_dtype": WEIGHTS[precision.gradients],
        "exp_avg_dtype": WEIGHTS[states],
        "exp_avg_sq_dtype": WEIGHTS[states],
    }


def loss_scale(optimizer: MegatronOptimizer) -> float | None:
    """The present FP16 loss scale, for the log; None where the loss is not scaled.

    It multiplies the sum of a micro-batch's token losses, so it settles lower than scales of mean losses do. Reading it
    waits for the GPU.
    """
    scaler = getattr(getattr(optimizer, "chained_optimizers", [optimizer])[0], "grad_scaler", None)
    return None if scaler is None else float(scaler.scale.item())
