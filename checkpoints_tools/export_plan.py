"""What an export will be made of: found and checked before a weight is read."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
import yaml

from checkpoints_tools.families import Settings, family_of, hf_config
from checkpoints_tools.held_out import tokenizer_file
from checkpoints_tools.megatron_checkpoint import CheckpointReader, checkpoint_facts, find_checkpoint, model_config
from checkpoints_tools.weight_map import ModelShape, check_weights, hf_shapes
from data_prep.manifest import read_manifest
from megatron_recipe.config import ModelConfig
from megatron_recipe.errors import CheckpointError, ConfigError, DataError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class ExportPlan:
    """What will be exported, from where, as what."""

    checkpoint: Path
    facts: dict[str, Any]
    reader: CheckpointReader
    model: ModelConfig
    dataset: Path | None
    """None for a model that came from Hugging Face and was not trained here."""
    manifest: dict[str, Any] | None
    """The dataset's."""
    tokenizer: Path | None
    """The dataset's tokenizer file; without a dataset a folder of Hugging Face files, None where there is none."""
    dtype: torch.dtype

    @property
    def shape(self) -> ModelShape:
        """Names and shapes of the weights."""
        return ModelShape.of(self.model, self.facts["vocab_size"])

    @property
    def dtype_name(self) -> str:
        """As `--dtype` takes it."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def parameters(self) -> int:
        """Of the exported model; a tied embedding counts once."""
        return sum(prod(shape) for shape in hf_shapes(self.shape).values())

    @property
    def special_ids(self) -> Settings:
        """bos_token_id, eos_token_id and pad_token_id."""
        if self.manifest is None:
            return {**self.facts["hf"]["special_ids"]}
        eod = self.manifest["tokenizer"]["eod_id"]
        return {"bos_token_id": eod, "eos_token_id": eod, "pad_token_id": eod}

    @property
    def config(self) -> Settings:
        """config.json."""
        model_type = (self.facts.get("hf") or {}).get("model_type")
        return hf_config(self.model, self.facts["vocab_size"], self.special_ids, self.dtype_name, model_type)


def plan_export(source: Path, dataset: Path | None = None, dtype: str | None = None) -> ExportPlan:
    """Find the checkpoint, its dataset (the run's first one unless given) and its tokenizer, and check that they fit.

    dtype: "float32" or "bfloat16"; None keeps the checkpoint's.
    Raises CheckpointError for a folder without a complete checkpoint or without a tokenizer that fits it, ConfigError
    for an unknown dtype.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"--dtype={dtype} is not known; use one of {', '.join(DTYPES)}")
    checkpoint = find_checkpoint(source)
    facts = checkpoint_facts(checkpoint)
    model = model_config(facts)
    reader = CheckpointReader(checkpoint)
    check_weights(
        {name: torch.empty(info.shape, device="meta") for name, info in reader.weights.items()},
        ModelShape.of(model, facts["vocab_size"]),
    )
    stored = reader.weights["embedding.word_embeddings.weight"].dtype
    manifest, tokenizer = None, imported_tokenizer(checkpoint)
    if dataset or "hf" not in facts:
        dataset = dataset or dataset_of(checkpoint, facts)
        manifest, tokenizer = _dataset_tokenizer(checkpoint, facts, dataset)
    plan = ExportPlan(
        checkpoint=checkpoint,
        facts=facts,
        reader=reader,
        model=model,
        dataset=dataset,
        manifest=manifest,
        tokenizer=tokenizer,
        dtype=DTYPES[dtype] if dtype else stored,
    )
    family_of(model)  # refuses a model that no class of transformers computes
    return plan


def _dataset_tokenizer(checkpoint: Path, facts: dict[str, Any], dataset: Path) -> tuple[dict[str, Any], Path]:
    try:
        manifest = read_manifest(dataset)
        tokenizer = tokenizer_file(dataset, manifest)
    except DataError as error:
        raise CheckpointError(f"no tokenizer for {checkpoint}: {error} (or give the dataset with --dataset)") from error
    vocab_size = manifest["tokenizer"]["vocab_size"]
    # models from Hugging Face may have more rows than their tokenizer has ids; then model.vocab_size says so
    may_be_smaller = facts["model"].get("vocab_size") is not None
    if vocab_size > facts["vocab_size"] or (vocab_size < facts["vocab_size"] and not may_be_smaller):
        raise CheckpointError(
            f"{dataset}: its tokenizer has {vocab_size} ids, the checkpoint was trained with {facts['vocab_size']}; "
            "give the dataset of the run with --dataset"
        )
    return manifest, tokenizer


def imported_tokenizer(checkpoint: Path) -> Path | None:
    """Folder with the tokenizer of a model that `from-hf` wrote; None where that had none."""
    folder = checkpoint.absolute().parent.parent / "tokenizer"
    return folder if folder.is_dir() else None


def dataset_of(checkpoint: Path, facts: dict[str, Any]) -> Path:
    """The first dataset that a checkpoint was trained on: as its run says, without a run as the checkpoint says.

    Raises CheckpointError where neither does.
    """
    config_file = checkpoint.absolute().parent.parent / "config.yaml"
    try:
        config = yaml.safe_load(config_file.read_text(encoding="utf-8"))
        return Path(config["data"]["datasets"][0]["path"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, IndexError) as error:
        recorded = next(iter(facts.get("data") or {}), None)
        if recorded and Path(recorded).is_dir():
            return Path(recorded)
        raise CheckpointError(
            f"{checkpoint}: {config_file} does not say which dataset it was trained on; give it with --dataset"
        ) from error


def describe(plan: ExportPlan, out: Path) -> list[str]:
    """Lines for --dry-run."""
    shape = plan.shape
    padded = plan.reader.weights["embedding.word_embeddings.weight"].shape[0]
    return [
        f"checkpoint {plan.checkpoint}, step {plan.facts['step']}",
        f"{plan.config['architectures'][0]}: {shape.num_layers} layers, hidden {shape.hidden_size}, "
        f"{shape.num_heads} heads × {shape.head_dim}, {shape.num_kv_groups} key-value groups",
        f"vocabulary {shape.vocab_size} ({padded} with padding, which is cut off)",
        f"tokenizer {plan.tokenizer}",
        f"would write {out} as {plan.dtype_name}, {plan.parameters * plan.dtype.itemsize / 1e6:,.1f} MB",
    ]
