"""Megatron's optimizer and learning-rate schedule from the configuration."""

from megatron.core import optimizer as megatron_optimizer
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer, distrib_optimizer, get_megatron_optimizer
from megatron.core.optimizer import OptimizerConfig as MegatronOptimizerConfig
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

from megatron_recipe.config import Config
from megatron_recipe.group_step_adamw import GroupStepAdamW


def build_optimizer(config: Config, model: list[DistributedDataParallel]) -> MegatronOptimizer:
    """AdamW over all pieces of the model: TE's or apex's kernel where it is there, else torch's."""
    if megatron_optimizer.USING_PYTORCH_OPTIMIZER:
        use_group_step_adamw()
    settings = config.optimizer
    return get_megatron_optimizer(
        MegatronOptimizerConfig(
            optimizer="adam",
            lr=config.schedule.peak_learning_rate,
            min_lr=config.schedule.min_learning_rate,
            adam_beta1=settings.beta1,
            adam_beta2=settings.beta2,
            adam_eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            clip_grad=settings.clip_grad_norm,
            bf16=config.precision.dtype == "bf16",
            use_distributed_optimizer=config.parallel.distributed_optimizer,
        ),
        model,
    )


def optimizer_name(optimizer: MegatronOptimizer) -> str:
    """Package and class of the kernel that updates the weights, for the log."""
    inner = getattr(optimizer, "chained_optimizers", [optimizer])[0].optimizer
    return f"{type(inner).__module__.split('.')[0]} {type(inner).__name__}"


def use_group_step_adamw() -> None:
    """Give Megatron GroupStepAdamW in the place that TE's FusedAdam has where it is installed."""
    megatron_optimizer.Adam = GroupStepAdamW
    megatron_optimizer.USING_PYTORCH_OPTIMIZER = False
    distrib_optimizer.Adam = GroupStepAdamW
    distrib_optimizer.HAVE_APEX_OR_TE = True
    distrib_optimizer.USING_TE_OPTIMIZER = True


def build_scheduler(config: Config, optimizer: MegatronOptimizer) -> OptimizerParamScheduler:
    """Megatron's schedule, counted in samples so that a changed batch size keeps its place."""
    schedule = config.schedule
    batch = config.batch.global_batch_size_samples
    total = config.train.steps * batch
    return OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=schedule.peak_learning_rate,
        min_lr=schedule.min_learning_rate,
        lr_warmup_steps=round(schedule.warmup_fraction * config.train.steps) * batch,
        lr_decay_steps=total,
        lr_decay_style="WSD" if schedule.decay == "wsd" else schedule.decay,
        start_wd=config.optimizer.weight_decay,
        end_wd=config.optimizer.weight_decay,
        wd_incr_steps=total,
        wd_incr_style="constant",
        wsd_decay_steps=round(schedule.wsd_decay_fraction * total) if schedule.decay == "wsd" else None,
        lr_wsd_decay_style="linear" if schedule.decay == "wsd" else None,
    )
