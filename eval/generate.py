"""Continue prompts with a model: greedily, and sampled with seeds; whole batches, with a cache of keys and values.

Run: megatron-recipe eval generate MODEL --prompt "The" (or --prompts FILE)

A prompt follows an end-of-document token, as the beginning of every training document does.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints_tools.hf_folder import load_hf_model, load_hf_tokenizer
from eval.device import choose_device, evaluation_dtype
from eval.text_metrics import metrics_by_mode
from megatron_recipe.console import progress
from megatron_recipe.errors import ConfigError

SAMPLING_TEMPERATURE = 0.8
BATCH_SIZE = 16


@dataclass(frozen=True)
class Decoding:
    """How the next token is chosen."""

    mode: str
    temperature: float
    seed: int


@dataclass(frozen=True)
class Continuation:
    """One prompt, to be continued in one way."""

    prompt: str
    ids: tuple[int, ...]
    decoding: Decoding


class Choice:
    """Makes the largest value the chosen token, for `generate` of transformers in its greedy mode.

    Sampling is from the whole distribution, sharpened by the temperature, by Gumbel's trick: the largest of the
    log-probabilities with Gumbel noise is a sample (Gumbel 1954). Each row has a generator of its own, so that a seed
    gives the same text whatever else is in the batch.
    """

    def __init__(self, decodings: Sequence[Decoding]) -> None:
        self.temperatures = [one.temperature for one in decodings]
        self.generators = [torch.Generator().manual_seed(one.seed) for one in decodings]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores [batch, vocabulary], with noise in the rows that are sampled."""
        chosen = scores.float().clone()
        for row, (temperature, generator) in enumerate(zip(self.temperatures, self.generators, strict=True)):
            if temperature:
                exponential = torch.empty(chosen.shape[1]).exponential_(generator=generator)
                chosen[row] = chosen[row] / temperature - exponential.log().to(chosen.device)
        return chosen


def generate_samples(
    model_dir: Path,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    seed: int,
    samples: int = 1,
    temperature: float = SAMPLING_TEMPERATURE,
    batch_size: int = BATCH_SIZE,
) -> dict[str, Any]:
    """Continue each prompt once greedily and `samples` times sampled, with seeds from `seed` on; returns what
    eval/samples.json holds.

    A continuation ends with the document or after `max_new_tokens`. The same seed gives the same text on the same
    machine. Raises CheckpointError for a folder that holds no model, ConfigError where no prompt fits the model.
    """
    tokenizer = load_hf_tokenizer(model_dir)
    device = choose_device()
    model = load_hf_model(model_dir, evaluation_dtype(device), device)
    length = model.config.max_position_embeddings
    if not 0 < max_new_tokens < length:
        raise ConfigError(
            f"--max-new-tokens={max_new_tokens} must be 1 to {length - 1}, the model's sequence length less one"
        )
    ways = [Decoding("greedy", 0.0, seed), *(Decoding("sampled", temperature, seed + i) for i in range(samples))]
    wanted = [
        Continuation(prompt, prompt_ids(tokenizer, prompt, length - max_new_tokens), way)
        for prompt in prompts
        for way in ways
    ]
    texts: dict[int, str] = {}
    with progress("generating", len(wanted), "samples") as advance:
        for indices in batches(wanted, batch_size):
            found = continue_batch(model, tokenizer, [wanted[index] for index in indices], max_new_tokens)
            texts.update(zip(indices, found, strict=True))
            advance(len(indices))
    continued = [{"prompt": one.prompt, "text": texts[i], **vars(one.decoding)} for i, one in enumerate(wanted)]
    return {
        "model": str(model_dir),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "samples": continued,
        "metrics": metrics_by_mode(continued),
    }


def prompt_ids(tokenizer: Any, prompt: str, room: int) -> tuple[int, ...]:
    """An end-of-document and the prompt's tokens; of a prompt that is too long the last `room` are kept."""
    return (tokenizer.eos_token_id, *tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"])[-room:]


def batches(wanted: Sequence[Continuation], batch_size: int) -> Iterator[list[int]]:
    """Indices of the continuations, those with prompts of a similar length together."""
    order = sorted(range(len(wanted)), key=lambda index: len(wanted[index].ids))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def continue_batch(model: Any, tokenizer: Any, batch: Sequence[Continuation], max_new_tokens: int) -> list[str]:
    """The text after each prompt. Shorter prompts have padding before them, which is masked and not counted."""
    from transformers import LogitsProcessorList

    width = max(len(one.ids) for one in batch)
    tokens = torch.full((len(batch), width), tokenizer.eos_token_id)
    mask = torch.zeros_like(tokens)
    for row, one in enumerate(batch):
        tokens[row, width - len(one.ids) :] = torch.tensor(one.ids)
        mask[row, width - len(one.ids) :] = 1
    with torch.inference_mode():
        output = model.generate(
            tokens.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            logits_processor=LogitsProcessorList([Choice([one.decoding for one in batch])]),
            pad_token_id=tokenizer.eos_token_id,
        )
    texts: list[str] = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
    return texts
