"""The headline numbers of a run: what it has seen, where it ended, and how far that is from guessing."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from megatron_recipe.report.run_files import Dataset, Run
from megatron_recipe.report.series import series

FINAL_SHARE, FINAL_MIN_RECORDS = 0.05, 5  # one step's loss is noise: the end of training is a mean of the last records
WARM_RECORDS = 3  # first records left out of speeds: they time start-up too

# Parameters up to which a description in the string tables holds ("ability.<name>").
ABILITY_LIMITS = ((10e6, "tiny"), (200e6, "small"), (800e6, "medium"), (2.5e9, "large"), (math.inf, "huge"))
# Tokens per parameter up to which "feeding.<name>" holds; 20 is compute-optimal (Hoffmann et al., 2022, table 3).
FEEDING_LIMITS = ((2.0, "starved"), (12.0, "short"), (60.0, "fed"), (math.inf, "beyond"))


@dataclass(frozen=True)
class HeldOut:
    """Loss on held-out text: `loss` and `unigram` in nats per token; None where not measured."""

    loss: float
    perplexity: float
    bits_per_byte: float | None
    unigram: float | None
    step: int | None
    """Step of the measurement during training; None for an evaluation of the whole held-out split."""
    documents: int | None = None
    tokens: int | None = None

    @property
    def is_finite(self) -> bool:
        """Whether the model gives numbers at all."""
        return math.isfinite(self.loss)

    @property
    def gap(self) -> float | None:
        """Nats per token below the unigram baseline; negative where the model is worse."""
        return None if self.unigram is None else self.unigram - self.loss


@dataclass(frozen=True)
class Summary:
    """What the top of the page says; None for what is not known."""

    steps: int | None
    tokens: int | None
    parameters: int | None
    train_loss: float | None
    train_loss_records: int
    seconds: float | None
    tokens_per_second: float | None
    tokens_per_second_per_gpu: float | None
    tflops_per_gpu: float | None
    mfu_full: float | None
    mfu_causal: float | None
    memory_gb: float | None
    redone_records: int
    uniform: float | None
    """Loss of guessing every token of the vocabulary alike, in nats: the logarithm of its size."""
    held_out: HeldOut | None

    @property
    def tokens_per_parameter(self) -> float | None:
        return self.tokens / self.parameters if self.tokens and self.parameters else None

    @property
    def ability(self) -> str | None:
        """Name of the description that fits the model's size."""
        return _class_of(self.parameters, ABILITY_LIMITS)

    @property
    def feeding(self) -> str | None:
        """Name of the description that fits the text it saw."""
        return _class_of(self.tokens_per_parameter, FEEDING_LIMITS)


def summarise(run: Run) -> Summary:
    """Collect the headline numbers of `run`."""
    last = run.train[-1] if run.train else {}
    losses = series(run.train[-max(FINAL_MIN_RECORDS, int(FINAL_SHARE * len(run.train))) :], "loss").finite
    memory = series(run.train, "memory_gb").finite
    vocabulary = vocabulary_size(run.datasets)
    return Summary(
        steps=last.get("step"),
        tokens=last.get("tokens"),
        parameters=run.environment.get("parameters"),
        train_loss=float(losses.mean()) if len(losses) else None,
        train_loss_records=len(losses),
        seconds=max((r["seconds"] for r in [*run.train[-1:], *run.validation[-1:]] if "seconds" in r), default=None),
        tokens_per_second=_typical(run, "tokens_per_second"),
        tokens_per_second_per_gpu=_typical(run, "tokens_per_second_per_gpu"),
        tflops_per_gpu=_typical(run, "tflops_per_gpu"),
        mfu_full=_typical(run, "mfu_full"),
        mfu_causal=_typical(run, "mfu_causal"),
        memory_gb=float(memory.max()) if len(memory) else None,
        redone_records=sum(record["kind"] == "train" for record in run.logged) - len(run.train),
        uniform=math.log(vocabulary) if vocabulary else None,
        held_out=_held_out(run),
    )


def vocabulary_size(datasets: list[Dataset]) -> int | None:
    """Tokens in the vocabulary that the run's datasets share; None where no dataset is left."""
    return next((d.manifest["tokenizer"]["vocab_size"] for d in datasets if d.manifest), None)


def passes_over(run: Run, dataset: Dataset) -> float | None:
    """How often the run has read the training split of `dataset` (epochs); None where that is not known."""
    if not run.train or "tokens" not in run.train[-1] or dataset.manifest is None:
        return None
    share = dataset.weight / sum(other.weight for other in run.datasets)
    size: int = dataset.manifest["splits"]["train"]["tokens"]
    return float(share * run.train[-1]["tokens"] / size) if size else None


def _held_out(run: Run) -> HeldOut | None:
    split = (run.perplexity or {}).get("splits", {}).get("validation")
    if split:
        return HeldOut(
            loss=split["loss"],
            perplexity=split["perplexity"],
            bits_per_byte=split.get("bits_per_byte"),
            unigram=split.get("unigram_loss"),
            step=None,
            documents=split.get("documents"),
            tokens=split.get("tokens"),
        )
    finite = [record for record in run.validation if math.isfinite(record["loss"])]
    if not finite:
        return None
    last = finite[-1]
    return HeldOut(
        loss=last["loss"],
        perplexity=last.get("perplexity", math.exp(last["loss"])),
        bits_per_byte=last.get("bits_per_byte"),
        unigram=None,
        step=last["step"],
    )


def _typical(run: Run, field: str) -> float | None:
    """Median over the records after the first few; None where it was not measured."""
    values = series(run.train[WARM_RECORDS:] or run.train, field).finite
    return float(np.median(values)) if len(values) else None


def _class_of(value: float | None, limits: tuple[tuple[float, str], ...]) -> str | None:
    return None if value is None else next(name for limit, name in limits if value < limit)


def device_label(environment: dict[str, Any]) -> str | None:
    """The hardware a run was measured on: "CPU", "8 × NVIDIA H100"; None where it was not recorded."""
    device = environment.get("device")
    if not device:
        return None
    name = "CPU" if device == "cpu" else str(device)
    count = environment.get("world_size", 1)
    return name if count == 1 else f"{count} × {name}"
