"""Where the numbers go."""

from typing import Literal

from pydantic import Field

from megatron_recipe.settings import Section


class LoggingConfig(Section):
    """Where the numbers go besides the console, metrics.jsonl and events.jsonl."""

    tensorboard: bool = True
    """Write TensorBoard event files below the run folder."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Weights & Biases; `online` becomes offline when the service does not answer within 10 s. A run that is continued
    continues there too. The key is read from WANDB_API_KEY or ~/.netrc."""
    wandb_project: str = "megatron-recipe"
    """Project there; the run has the run folder's name."""
    swanlab: Literal["off", "local", "cloud"] = "off"
    """SwanLab, as W&B; `local` writes below the run folder. The key is read from SWANLAB_API_KEY."""
    gpu_readings: bool = True
    """NVML readings of each rank's GPU in the records: utilisation, memory, power, temperature, clocks, ECC."""
    model_readings: bool = True
    """Readings of the model in the records: norms of gradients and weights, size of the updates, activations, attention
    logits. `diagnose` needs them; training does not notice."""
    histograms_every_steps: int = Field(default=0, ge=0)
    """Steps between histograms of weights and gradients in TensorBoard; 0 is off."""
    profile_first_step: int = Field(default=0, ge=0)
    """First step of a torch profiler trace (`train --profile FIRST:STOP`), with a memory snapshot; 0 is none."""
    profile_last_step: int = Field(default=0, ge=0)
    """Last step of that trace."""


class MessagesConfig(Section):
    """Who is told. Addresses are secrets, so that they are read from environment variables and never written down."""

    webhook: Literal["off", "auto", "wecom", "feishu", "dingtalk", "slack", "generic"] = "auto"
    """Kind of the webhook whose address is in MEGATRON_RECIPE_WEBHOOK; `auto` knows it by its host, and is off where
    the variable is not set. It gets start, end, accidents and what was done, and a daily summary."""
    daily_summary_hour: int = Field(default=9, ge=0, le=23)
    """Hour of the day (local time) of the summary."""
    heartbeat_every_seconds: int = Field(default=300, gt=0)
    """How often the address in MEGATRON_RECIPE_HEARTBEAT is called while training goes on; not set, never."""
    language: Literal["en", "zh"] = "en"
    """Of the messages."""
