"""The configuration of a training run: one model per concern, every field with its meaning, unit and off-value.

`megatron_recipe.recipes` reads it from YAML; `megatron_recipe.validation` checks what spans several fields.
"""

from megatron_recipe.config.care import CheckpointConfig, StabilityConfig
from megatron_recipe.config.data import DataConfig, DataPhase, DatasetWeight, SampleRange, ValidationSet
from megatron_recipe.config.evaluation import EvaluationConfig
from megatron_recipe.config.machine import KernelsConfig, MemoryConfig, ParallelConfig, PrecisionConfig
from megatron_recipe.config.model import ModelConfig
from megatron_recipe.config.optimization import (
    BatchConfig,
    BudgetConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)
from megatron_recipe.config.watching import LoggingConfig, MessagesConfig
from megatron_recipe.settings import Section

__all__ = [
    "BatchConfig",
    "BudgetConfig",
    "CheckpointConfig",
    "Config",
    "DataConfig",
    "DataPhase",
    "DatasetWeight",
    "EvaluationConfig",
    "KernelsConfig",
    "LoggingConfig",
    "MemoryConfig",
    "MessagesConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ParallelConfig",
    "PrecisionConfig",
    "SampleRange",
    "ScheduleConfig",
    "StabilityConfig",
    "TrainConfig",
    "ValidationSet",
]


class Config(Section):
    """All that defines a run; the resolved file in the run folder repeats it."""

    model: ModelConfig
    data: DataConfig
    batch: BatchConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig
    train: TrainConfig
    parallel: ParallelConfig = ParallelConfig()
    precision: PrecisionConfig = PrecisionConfig()
    memory: MemoryConfig = MemoryConfig()
    kernels: KernelsConfig = KernelsConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    stability: StabilityConfig = StabilityConfig()
    budget: BudgetConfig = BudgetConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    logging: LoggingConfig = LoggingConfig()
    messages: MessagesConfig = MessagesConfig()
