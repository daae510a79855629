"""All numbers of a plan, for one recipe on some GPUs of a kind, and for the other cards that have a price."""

from collections.abc import Iterator
from dataclasses import dataclass

from megatron_recipe.batch_schedule import total_samples
from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.flops import flops_per_token, padded_vocab_size
from megatron_recipe.kernels import planned
from megatron_recipe.plan.cost import Offer, offers
from megatron_recipe.plan.disk import Disk, estimate_disk
from megatron_recipe.plan.hardware import Hardware, profile
from megatron_recipe.plan.loss_law import CHINCHILLA_TOKENS_PER_PARAMETER, LAWS
from megatron_recipe.plan.memory import RECOMPUTE_LEVELS, Memory, estimate_memory
from megatron_recipe.plan.parameters import Parameters, count_parameters
from megatron_recipe.plan.resolve import fits, possible_micro_batches, resolve
from megatron_recipe.plan.speed import Mfu, expected_mfu, tokens_per_second

BILLION = 1e9
SHOWN_MICRO_BATCHES = 6


@dataclass(frozen=True)
class Cell:
    """Memory at one micro-batch and recompute level."""

    micro_batch: int
    recompute: str
    bytes: int
    fits: bool
    chosen: bool


@dataclass(frozen=True)
class CostLine:
    """What a run costs on one offer, with as many GPUs as planned for."""

    offer: Offer
    mfu: Mfu
    days: float
    cny_per_billion_tokens: float
    cny: float


@dataclass(frozen=True)
class Plan:
    """A recipe on GPUs."""

    config: Config
    """With numbers where the recipe had `auto`; as it was where it does not run."""
    vocab_size: int
    hardware: Hardware
    gpus: int
    refusal: str
    """Why it does not run on these GPUs; empty where it does."""
    parameters: Parameters
    memory: Memory
    micro_batch: int
    recompute: str
    cells: list[Cell]
    tokens: int
    flops_per_token_full: float
    flops_per_token_causal: float
    mfu: Mfu
    tokens_per_second: float
    """Of one GPU; 0 where the card's peak is not known."""
    disk: Disk
    costs: list[CostLine]

    @property
    def days(self) -> float:
        """Of training on all GPUs; 0 where the card's peak is not known."""
        rate = self.tokens_per_second * self.gpus
        return self.tokens / rate / 86_400 if rate else 0.0

    @property
    def chinchilla_tokens(self) -> int:
        """20 for each parameter."""
        return CHINCHILLA_TOKENS_PER_PARAMETER * self.parameters.total

    def losses(self) -> list[tuple[str, float]]:
        """The source of each fit, and its loss for this model and these tokens."""
        return [(law.source, law.loss(self.parameters.total, self.tokens)) for law in LAWS]


def make_plan(
    config: Config,
    recipe: str | None,
    vocab_size: int,
    hardware: Hardware,
    gpus: int,
    mfu: float | None = None,
) -> Plan:
    """Everything `plan` shows.

    Args:
        recipe: its name where it has one.
        mfu: a share or in %, in place of the measured or assumed one.
    """
    refusal = ""
    try:
        config = resolve(config, vocab_size, hardware, gpus, recipe)
    except ConfigError as error:
        refusal = str(error)
    micro_batch, recompute = _shown_choice(config)
    rows = padded_vocab_size(vocab_size, config.model)
    expected = expected_mfu(config, rows, hardware, recompute, mfu)
    tokens = total_samples(config) * config.model.sequence_length_tokens
    return Plan(
        config=config,
        vocab_size=vocab_size,
        hardware=hardware,
        gpus=gpus,
        refusal=refusal,
        parameters=count_parameters(config.model, rows),
        memory=estimate_memory(planned(config, hardware.capability), vocab_size, gpus, micro_batch, recompute),
        micro_batch=micro_batch,
        recompute=recompute,
        cells=list(_cells(config, vocab_size, hardware, gpus, "" if refusal else f"{micro_batch} {recompute}")),
        tokens=tokens,
        flops_per_token_full=flops_per_token(config.model, rows, causal=False),
        flops_per_token_causal=flops_per_token(config.model, rows, causal=True),
        mfu=expected,
        tokens_per_second=tokens_per_second(config, rows, hardware, expected),
        disk=estimate_disk(config, vocab_size, gpus, tokens),
        costs=sorted(_costs(config, recipe, vocab_size, gpus, tokens, mfu), key=lambda line: line.cny),
    )


def _shown_choice(config: Config) -> tuple[int, str]:
    """The resolved numbers; the least that could be where nothing fits."""
    micro_batch = config.batch.micro_batch_size_samples
    recompute = config.memory.recompute
    return 1 if micro_batch == "auto" else micro_batch, "full" if recompute == "auto" else recompute


def _cells(config: Config, vocab_size: int, hardware: Hardware, gpus: int, choice: str) -> Iterator[Cell]:
    """Memory by micro-batch and recompute: the smallest micro-batches, and those that are chosen."""
    on_card = planned(config, hardware.capability)
    sizes = sorted(possible_micro_batches(config, gpus)) or [1]
    chosen_size = int(choice.split()[0]) if choice else sizes[0]
    for micro_batch in sorted({*sizes[:SHOWN_MICRO_BATCHES], chosen_size}):
        for recompute in RECOMPUTE_LEVELS:
            memory = estimate_memory(on_card, vocab_size, gpus, micro_batch, recompute)
            yield Cell(
                micro_batch, recompute, memory.total, fits(memory, hardware), f"{micro_batch} {recompute}" == choice
            )


def _costs(
    config: Config, recipe: str | None, vocab_size: int, gpus: int, tokens: int, mfu: float | None
) -> Iterator[CostLine]:
    """One line for each offer of a card that the recipe fits. `auto` is chosen anew for each card."""
    rows = padded_vocab_size(vocab_size, config.model)
    anew = config.model_copy(
        update={
            "batch": config.batch.model_copy(update={"micro_batch_size_samples": "auto"}),
            "memory": config.memory.model_copy(update={"recompute": "auto"}),
        }
    )
    for offer in offers():
        hardware = profile(offer.gpu)
        try:
            chosen = resolve(anew, vocab_size, hardware, gpus, recipe)
        except ConfigError:
            continue
        expected = expected_mfu(chosen, rows, hardware, chosen.memory.recompute, mfu)
        rate = tokens_per_second(chosen, rows, hardware, expected)
        if not rate:
            continue
        yield CostLine(
            offer=offer,
            mfu=expected,
            days=tokens / rate / gpus / 86_400,
            cny_per_billion_tokens=offer.cny(BILLION / rate / 3600),
            cny=offer.cny(tokens / rate / 3600),
        )
