"""A Hugging Face model as a Megatron checkpoint that training begins with: `train.init_from`.

Run: megatron-recipe convert from-hf HF_DIR OUT

    OUT/checkpoints/weights_00000000/   the weights, as `megatron-recipe train` writes them; loads in any layout
    OUT/tokenizer/                      the model's tokenizer, as it was
    OUT/recipe.yaml                     to train it further: the model section is exact, the rest a beginning

Weights go from file to file one by one: no more than one Megatron weight is in memory, whatever the size of the model.
OUT appears whole or not at all, and only after its logits were found equal.
"""

import json
import math
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints_tools.compare_logits import Verdict, compare_logits
from checkpoints_tools.comparison_text import default_token_count, random_tokens
from checkpoints_tools.export_plan import DTYPES
from checkpoints_tools.families import HfModel, read_hf_config
from checkpoints_tools.import_recipe import recipe_text
from checkpoints_tools.safetensors_files import SafetensorsFolder
from checkpoints_tools.weight_map import ModelShape, hf_shapes, megatron_weight_of, rows
from checkpoints_tools.weights_checkpoint import write_weights_checkpoint
from megatron_recipe.console import progress, say, warn
from megatron_recipe.errors import CheckpointError, ConfigError
from megatron_recipe.files import atomic_folder, sha256_file
from megatron_recipe.flops import padded_vocab_size

CHECKPOINT = "checkpoints/weights_00000000"
RECIPE = "recipe.yaml"
TOKENIZERS = ("tokenizer.json", "tokenizer.model")
"""Files that define ids; the first one there is the model's tokenizer."""
TOKENIZER_FILES = (
    *TOKENIZERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
)
COMPUTED = re.compile(r"rotary_emb\.inv_freq$")
"""Weights that old versions of transformers saved and every version computes."""
OUTPUT, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@dataclass(frozen=True)
class ImportPlan:
    """What will be converted; made from config.json and the files' headers, without reading a weight."""

    source: Path
    hf: HfModel
    weights: SafetensorsFolder
    dtype: torch.dtype
    """That the weights are written in."""
    is_rounded: bool
    """Whether that is another one than the files'."""
    tokenizer: Path | None

    @property
    def shape(self) -> ModelShape:
        """Names and shapes of the weights."""
        return ModelShape.of(self.hf.model, self.hf.vocab_size)

    @property
    def parameters(self) -> int:
        """Of the model; a tied embedding counts once."""
        return sum(math.prod(shape) for shape in hf_shapes(self.shape).values())

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the vocabulary's matrices in Megatron."""
        return padded_vocab_size(self.hf.vocab_size, self.hf.model)


def plan_import(source: Path, dtype: str | None = None, sequence_length_tokens: int | None = None) -> ImportPlan:
    """Read config.json and the headers of the weights.

    Args:
        source: folder of the model.
        dtype: "float32" or "bfloat16"; None keeps the files'.
        sequence_length_tokens: see `families.read_hf_config`.

    Raises:
        CheckpointError: no such folder, a model that cannot be built, weights that are missing or of other shapes.
    """
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("no mapping")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{source}: not the folder of a Hugging Face model (config.json: {error}); download the whole model"
        ) from error
    try:
        hf = read_hf_config(config, sequence_length_tokens)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    if any(source.glob("*.bin")) and not any(source.glob("*.safetensors")):
        raise CheckpointError(
            f"{source}: its weights are pickles (*.bin), which can run code when they are read; take the model's "
            "safetensors, or load it with transformers and save it again with save_pretrained"
        )
    weights = SafetensorsFolder(source)
    types = check_weights(weights, ModelShape.of(hf.model, hf.vocab_size))
    if dtype is None and len(types) > 1:
        raise CheckpointError(
            f"{source}: its weights are of several types ({', '.join(sorted(map(str, types)))}); "
            "choose one with --dtype"
        )
    tokenizer = next((source / name for name in TOKENIZERS if (source / name).is_file()), None)
    written = DTYPES[dtype] if dtype else next(iter(types))
    return ImportPlan(source, hf, weights, written, types != {written}, tokenizer)


def check_weights(weights: SafetensorsFolder, shape: ModelShape) -> set[torch.dtype]:
    """The types of the weights. Raises CheckpointError unless they are those of a model of this shape."""
    wanted = hf_shapes(shape)
    found = {name: place for name, place in weights.places.items() if not COMPUTED.search(name)}
    if shape.tied_embeddings:
        found.pop(OUTPUT, None)  # a copy of the embedding, as some save it; compared when it is read
    missing, surplus = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or surplus:
        parts = [
            f"{verb} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            for verb, names in (("lacks", missing), ("has a weight that config.json does not speak of:", surplus))
            if names
        ]
        raise CheckpointError(
            f"{weights.folder}: {' and '.join(parts)}; the weights and config.json don't belong together, or the "
            "download is not complete"
        )
    for name, expected in wanted.items():
        if found[name].shape != expected:
            raise CheckpointError(
                f"{found[name].file}: {name} has shape {list(found[name].shape)}, but config.json makes it "
                f"{list(expected)}; the weights and config.json don't belong together"
            )
    return {found[name].dtype for name in wanted}


def describe(plan: ImportPlan, out: Path) -> list[str]:
    """Lines for --dry-run."""
    shape, family = plan.shape, plan.hf.family
    return [
        f"{plan.source}: {family.architecture}, {shape.num_layers} layers, hidden {shape.hidden_size}, "
        f"{shape.num_heads} heads × {shape.head_dim}, {shape.num_kv_groups} key-value groups",
        f"vocabulary {shape.vocab_size} ({plan.padded_vocab_size} with padding)",
        f"tokenizer {plan.tokenizer or 'none there'}",
        f"would write {out} as {str(plan.dtype).removeprefix('torch.')}",
    ]


def import_hf(plan: ImportPlan, out: Path, *, compare: bool = True) -> Verdict | None:
    """Write the folder `out`, see the module's docstring. Returns what the comparison found.

    Args:
        compare: prove equal logits. Weights that are rounded to another type have none to be equal to: they are not.

    Raises:
        CheckpointError: a weight that cannot be read, or is not finite, other logits; then there is no `out`.
        ConfigError: `out` is something else.
    """
    refuse_other_folder(out)
    if plan.tokenizer is None:
        warn(
            f"{plan.source} has no tokenizer ({' or '.join(TOKENIZERS)}), so that nobody can check that a text's "
            "tokens are the model's; download the model whole"
        )
    if compare and plan.is_rounded:
        say("the weights are rounded to another type, so that their logits are others: not compared")
    model = plan.hf.model.model_copy(update={"vocab_size": plan.hf.vocab_size})
    facts: dict[str, Any] = {
        "format": "megatron-recipe/checkpoint/2",
        "vocab_size": plan.hf.vocab_size,
        "model": model.model_dump(mode="json"),
        "data": {},
        "tokenizer_sha256": sha256_file(plan.tokenizer) if plan.tokenizer else None,
        "saved": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **dict.fromkeys(("step", "samples", "tokens", "position"), 0),
        "hf": {"model_type": plan.hf.family.model_type, "special_ids": plan.hf.special_ids},
    }
    with atomic_folder(out) as folder:
        for name in TOKENIZER_FILES:
            if (plan.source / name).is_file():
                (folder / "tokenizer").mkdir(exist_ok=True)
                shutil.copyfile(plan.source / name, folder / "tokenizer" / name)
        (folder / RECIPE).write_text(
            recipe_text(model, plan.source.absolute().name, out, plan.tokenizer), encoding="utf-8"
        )
        write_weights_checkpoint(folder / CHECKPOINT, megatron_weights(plan), facts)
        return compare_or_raise(plan, folder / CHECKPOINT) if compare and not plan.is_rounded else None


def refuse_other_folder(out: Path) -> None:
    """An existing folder is replaced only if it is empty or came from Hugging Face too."""
    if out.exists() and not (out / CHECKPOINT).is_dir() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is no model that from-hf wrote (no {CHECKPOINT}); choose another folder")


def megatron_weights(plan: ImportPlan) -> Iterator[tuple[str, Tensor]]:
    """Megatron's weights, one after the other. Raises CheckpointError for one that cannot be read or is not finite."""
    shape = plan.shape
    if shape.tied_embeddings and OUTPUT in plan.weights.places:
        check_tied(plan)
    with progress("importing", plan.parameters * plan.dtype.itemsize / 1e6, "MB") as advance:
        for row in rows(shape):
            weight = megatron_weight_of(row, lambda name: read_finite(plan, name), shape, plan.padded_vocab_size)
            yield row.megatron, weight
            advance(weight.numel() * plan.dtype.itemsize / 1e6)


def compare_or_raise(plan: ImportPlan, checkpoint: Path) -> Verdict:
    """The comparison of the written checkpoint with the model. Raises CheckpointError where they differ."""
    count = default_token_count(plan.parameters, plan.hf.vocab_size)
    text = random_tokens(plan.hf.vocab_size, plan.hf.model.sequence_length_tokens, count)
    say(f"comparing Megatron's logits with transformers' on {count:,} {text.origin} (FP32, CPU, layer by layer)")
    verdict = compare_logits(checkpoint, plan.source, text.rows)
    if not verdict["passed"]:
        raise CheckpointError(
            f"Megatron computes other logits than transformers, from {verdict['first_differing_layer']} on: the "
            f"largest difference is {verdict['max_abs_difference']:.2g} (allowed {verdict['allowed_difference']:.1g})"
            + "".join(f"; {problem}" for problem in verdict["config_differences"])
            + "; nothing was written. --no-compare writes it for a closer look"
        )
    return verdict


def read_finite(plan: ImportPlan, name: str) -> Tensor:
    """One Hugging Face weight in the type of the plan. Raises CheckpointError where it holds NaN or infinity."""
    weight = plan.weights.read(name).to(plan.dtype)
    # a sum is finite only if all terms are, and is read off faster than each of them
    if not weight.sum(dtype=torch.float32).isfinite() and not weight.isfinite().all():
        count = int((~weight.isfinite()).sum())
        raise CheckpointError(
            f"{plan.weights.places[name].file}: {name} holds {count:,} values that are NaN or infinite: the model is "
            "broken, or its file damaged; download it again, or take another checkpoint of it"
        )
    return weight


def check_tied(plan: ImportPlan) -> None:
    """Raise CheckpointError if the output layer that a tied model's files hold is not its embedding."""
    if not torch.equal(plan.weights.read(OUTPUT), plan.weights.read(EMBEDDING)):
        raise CheckpointError(
            f"{plan.source}: config.json says tie_word_embeddings, but {OUTPUT} is not {EMBEDDING}; "
            "set tie_word_embeddings to false in config.json if the model was trained untied"
        )
