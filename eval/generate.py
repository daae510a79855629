"""Continue prompts with an exported model: greedily, and sampled with a seed.

Run: megatron-recipe eval generate MODEL --prompt "The" (or --prompts FILE)

A prompt follows an end-of-document token, as the beginning of every training document does.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from checkpoints_tools.hf_folder import load_hf_model, load_hf_tokenizer
from eval.device import choose_device, evaluation_dtype
from megatron_recipe.console import progress
from megatron_recipe.errors import ConfigError

SAMPLING_TEMPERATURE = 0.8


@dataclass(frozen=True)
class Decoding:
    """How the next token is chosen."""

    mode: str
    temperature: float
    seed: int

    def arguments(self) -> dict[str, Any]:
        """For `generate` of transformers; sampling is from the whole distribution, sharpened by the temperature."""
        if self.mode == "greedy":
            return {"do_sample": False}
        return {"do_sample": True, "temperature": self.temperature, "top_k": 0, "top_p": 1.0}


def generate_samples(model_dir: Path, prompts: list[str], *, max_new_tokens: int, seed: int) -> dict[str, Any]:
    """Continue each prompt once greedily and once sampled; returns what eval/samples.json holds.

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
    decodings = (Decoding("greedy", 0.0, seed), Decoding("sampled", SAMPLING_TEMPERATURE, seed))
    samples = []
    with progress("generating", len(prompts) * len(decodings), "samples") as advance:
        for prompt in prompts:
            for decoding in decodings:
                text = continue_prompt(model, tokenizer, prompt, max_new_tokens, decoding)
                samples.append({"prompt": prompt, "text": text, **vars(decoding)})
                advance()
    return {"model": str(model_dir), "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "samples": samples}


def continue_prompt(model: Any, tokenizer: Any, prompt: str, max_new_tokens: int, decoding: Decoding) -> str:
    """The text after `prompt`; of a prompt that is too long for the model the end is kept."""
    room = model.config.max_position_embeddings - max_new_tokens
    ids = [tokenizer.eos_token_id, *tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]][-room:]
    tokens = torch.tensor([ids], device=model.device)
    torch.manual_seed(decoding.seed)
    with torch.inference_mode():
        output = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.eos_token_id,
            **decoding.arguments(),
        )
    text: str = tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
    return text
