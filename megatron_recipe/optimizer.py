"""Megatron's optimizer from the configuration: AdamW, SGD with momentum, or Muon."""

from typing import Any

from megatron.core import optimizer as megatron_optimizer
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer, distrib_optimizer, get_megatron_optimizer
from megatron.core.optimizer import OptimizerConfig as MegatronOptimizerConfig
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

from megatron_recipe import batch_schedule, precision
from megatron_recipe.config import Config
from megatron_recipe.group_step_adamw import GroupStepAdamW
from megatron_recipe.momentum_sgd import MomentumSGD
from megatron_recipe.rounded_states import make_loadable

MEGATRON_NAMES = {"adamw": "adam", "sgd": "sgd", "muon": "muon"}


def build_optimizer(config: Config, model: list[DistributedDataParallel]) -> MegatronOptimizer:
    """The optimizer over all pieces of the model; `precision.loss_scale` reads its FP16 scale."""
    if megatron_optimizer.USING_PYTORCH_OPTIMIZER:
        use_group_step_adamw()
    megatron_optimizer.SGD = MomentumSGD
    settings = config.optimizer
    optimizer = get_megatron_optimizer(
        MegatronOptimizerConfig(
            optimizer=MEGATRON_NAMES[settings.kind],
            lr=config.schedule.peak_learning_rate,
            min_lr=config.schedule.min_learning_rate,
            adam_beta1=settings.beta1,
            adam_beta2=settings.beta2,
            adam_eps=settings.epsilon,
            sgd_momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            clip_grad=settings.clip_grad_norm,
            use_distributed_optimizer=config.parallel.distributed_optimizer,
            overlap_param_gather=model[0].ddp_config.overlap_param_gather,
            **muon_settings(settings.momentum),
            **precision.optimizer_settings(config.precision, settings.states),
        ),
        model,
    )
    for part in parts(optimizer):
        if isinstance(part.optimizer, MomentumSGD):
            part.init_state_fn = lambda sgd, _config=None: sgd.make_states()
        elif settings.states != "fp32":
            make_loadable(part)
    for chunk in model:
        chunk.config.grad_scale_func = optimizer.scale_loss
    return optimizer


def muon_settings(momentum: float) -> dict[str, Any]:
    """Megatron's Muon as Liu et al. (https://arxiv.org/abs/2502.16982) scale it: AdamW's learning rate serves both.

    Their factor 0.2 · √max(rows, columns) gives a matrix's update the size of AdamW's. Query, key and value matrices
    are orthogonalised each for itself, and a matrix as a whole whatever tensor parallelism makes of it.
    """
    return {
        "muon_momentum": momentum,
        "muon_nesterov": True,
        "muon_scale_mode": "spectral",
        "muon_extra_scale_factor": 0.2,
        "muon_split_qkv": True,
        "muon_tp_mode": "duplicated",
    }


def parts(optimizer: MegatronOptimizer) -> list[Any]:
    """Megatron's optimizers that make up this one: Muon has a second one for what is no matrix."""
    chained: list[Any] = getattr(optimizer, "chained_optimizers", [optimizer])
    return chained


def optimizer_name(optimizer: MegatronOptimizer) -> str:
    """Package and class of each kernel that updates weights, for the log."""
    kinds = (type(part.optimizer) for part in parts(optimizer))
    return " + ".join(f"{kind.__module__.split('.')[0]} {kind.__name__}" for kind in kinds)


def use_group_step_adamw() -> None:
    """Give Megatron GroupStepAdamW in the place that TE's FusedAdam has where it is installed."""
    megatron_optimizer.Adam = GroupStepAdamW
    megatron_optimizer.USING_PYTORCH_OPTIMIZER = False
    distrib_optimizer.Adam = GroupStepAdamW
    distrib_optimizer.HAVE_APEX_OR_TE = True
    distrib_optimizer.USING_TE_OPTIMIZER = True


def build_scheduler(config: Config, optimizer: MegatronOptimizer) -> OptimizerParamScheduler:
    """Megatron's schedule, counted in samples so that a changed batch size keeps its place.

    A budget's clock drives it too: set `num_steps` to the share spent × `lr_decay_steps`, then call `step(0)`.
    """
    schedule = config.schedule
    total = batch_schedule.total_samples(config)
    is_wsd = schedule.decay == "wsd"
    return OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=schedule.peak_learning_rate,
        min_lr=schedule.min_learning_rate,
        lr_warmup_steps=warmup_samples(config, total),
        lr_decay_steps=total,
        lr_decay_style="WSD" if is_wsd else schedule.decay,
        start_wd=config.optimizer.weight_decay,
        end_wd=config.optimizer.weight_decay,
        wd_incr_steps=total,
        wd_incr_style="constant",
        wsd_decay_steps=round(schedule.wsd_decay_fraction * total) if is_wsd else None,
        lr_wsd_decay_style=schedule.wsd_decay_shape if is_wsd else None,
    )


def warmup_samples(config: Config, total: int) -> int:
    """Samples of the warm-up: whole steps where all batches have one size."""
    schedule, batch = config.schedule, config.batch
    if batch.ramp_up_from_samples:
        return round(schedule.warmup_fraction * total)
    return round(schedule.warmup_fraction * config.train.steps) * batch.global_batch_size_samples
