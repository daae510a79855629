"""Hidden states and logits of a Hugging Face folder, by transformers' own classes, one layer in memory at a time."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from checkpoints_tools.layer_by_layer import stream
from checkpoints_tools.safetensors_files import SafetensorsFolder
from megatron_recipe.errors import CheckpointError

Config = dict[str, Any]
TIED_NAME, EMBEDDING_NAME = "lm_head.weight", "model.embed_tokens.weight"


def read_config(folder: Path) -> Config:
    """config.json of a Hugging Face folder. Raises CheckpointError for a missing or damaged one."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or "model_type" not in config:
            raise ValueError("it names no model_type")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: not a Hugging Face folder, or damaged (config.json: {error})") from error
    return config


class StreamedHfModel:
    """A causal language model of transformers whose layers are read from safetensors when they compute."""

    def __init__(self, folder: Path, config: Config, arithmetic: torch.dtype, device: torch.device) -> None:
        """Build it without memory for weights, and check their names and shapes.

        Raises CheckpointError for a config or weights that don't make a model.
        """
        self.folder, self.device, self.arithmetic = SafetensorsFolder(folder), device, arithmetic
        with torch.device("meta"):
            self.model = build_empty(folder, config, arithmetic)
        self.base: Any = self.model.model
        # its frequencies are computed, not read, and must not be on the meta device
        self.base.rotary_emb = type(self.base.rotary_emb)(config=self.model.config).to(device)
        self.is_tied = bool(self.model.config.tie_word_embeddings)
        self.stages: list[Tensor] = []
        self._check()

    def _check(self) -> None:
        wanted = {name: tuple(parameter.shape) for name, parameter in self.model.named_parameters()}
        found = {name: place.shape for name, place in self.folder.places.items()}
        if self.is_tied:
            wanted.pop(TIED_NAME, None)
            found.pop(TIED_NAME, None)
        missing, surplus = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        different = [name for name in wanted if name in found and wanted[name] != found[name]]
        problems = [f"lacks {missing[0]} ({len(missing)} in all)"] if missing else []
        problems += [f"has {surplus[0]}, which its config.json has no place for"] if surplus else []
        problems += [
            f"has {one} with shape {list(found[one])} where its config.json says {list(wanted[one])}"
            for one in different[:1]
        ]
        if problems:
            raise CheckpointError(f"{self.folder.folder}: {'; '.join(problems)}; export or download the folder again")

    def hidden_states(self, tokens: Tensor, seen: Callable[[Tensor], None]) -> Tensor:
        """Run all but the output layer. tokens: [sequences, length].

        seen: gets [sequences, length, hidden] after the embedding, each layer and the final norm. Returns the last.
        """
        parts = [self.base.embed_tokens, *self.base.layers, self.base.norm]
        prefixes = ["model.embed_tokens.", *(f"model.layers.{i}." for i in range(len(self.base.layers))), "model.norm."]
        for part, prefix in zip(parts, prefixes, strict=True):
            stream(part, self._filler(part, prefix), seen)
        output = self.base(input_ids=tokens.to(self.device), use_cache=False)
        result: Tensor = output.last_hidden_state
        return result

    def output_weight(self) -> None:
        """Read the output layer's weight, for `logits`."""
        head = self.model.lm_head
        head.to_empty(device=self.device)
        head.weight.data.copy_(self._read(EMBEDDING_NAME if self.is_tied else TIED_NAME, head.weight.shape))

    def logits(self, hidden: Tensor) -> Tensor:
        """[…, hidden] → [tokens, vocabulary] in FP32 on the CPU."""
        result: Tensor = self.model.lm_head(hidden)
        return result.float().cpu()

    def _filler(self, part: Module, prefix: str) -> Callable[[], None]:
        def fill() -> None:
            part.to_empty(device=self.device)
            for name, parameter in part.named_parameters():
                parameter.data.copy_(self._read(prefix + name, parameter.shape))

        return fill

    def _read(self, name: str, shape: torch.Size) -> Tensor:
        weight = self.folder.read(name)
        assert weight.shape == shape, f"{name} was checked to have shape {list(shape)}"
        return weight


def build_empty(folder: Path, config: Config, arithmetic: torch.dtype) -> Any:
    """The model of a config, on the current default device. Raises CheckpointError for one that cannot be built."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        parsed = CONFIG_MAPPING[config["model_type"]].from_dict(config)
        return AutoModelForCausalLM.from_config(parsed, dtype=arithmetic).eval()
    except Exception as error:  # transformers raises what it likes for a wrong config
        cause = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{folder}: transformers cannot build what config.json says ({cause})") from error


def token_chunks(lengths: list[int], size: int) -> Iterator[tuple[int, int, int]]:
    """(sequence, start, end) of at most `size` tokens each, over sequences of these lengths."""
    for sequence, length in enumerate(lengths):
        for start in range(0, length, size):
            yield sequence, start, min(start + size, length)
