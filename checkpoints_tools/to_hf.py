"""Export a Megatron checkpoint as a Hugging Face folder that transformers, vLLM and lm-eval load.

Run: megatron-recipe convert to-hf RUN_OR_CHECKPOINT OUT
The folder appears whole or not at all, and only after its logits and token ids were found equal.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from checkpoints_tools.compare_logits import LARGEST_DIFFERENCE, compare_logits
from checkpoints_tools.held_out import read_held_out, tokenizer_file
from checkpoints_tools.hf_tokenizer import convert_tokenizer, count_id_differences
from checkpoints_tools.megatron_checkpoint import (
    checkpoint_facts,
    find_checkpoint,
    model_config,
    model_index,
    read_model_weights,
    verify_integrity,
)
from checkpoints_tools.model_card import model_card
from checkpoints_tools.weight_map import ModelShape, megatron_to_hf
from data_prep.manifest import read_manifest
from megatron_recipe.config import ModelConfig
from megatron_recipe.console import say
from megatron_recipe.errors import CheckpointError, ConfigError, DataError
from megatron_recipe.files import atomic_folder, write_json

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class ExportPlan:
    """What will be exported, from where, as what; made without reading a tensor."""

    checkpoint: Path
    facts: dict[str, Any]
    model: ModelConfig
    dataset: Path
    manifest: dict[str, Any]
    tokenizer: Path
    dtype: torch.dtype
    padded_vocab_size: int

    @property
    def shape(self) -> ModelShape:
        """Names and shapes of the weights."""
        model = self.model
        return ModelShape(
            model.num_layers,
            model.hidden_size,
            model.ffn_hidden_size,
            model.num_heads,
            model.num_kv_groups,
            model.head_dim,
            self.facts["vocab_size"],
            model.tied_embeddings,
            model.qk_norm,
        )

    @property
    def dtype_name(self) -> str:
        """As `--dtype` takes it."""
        return str(self.dtype).removeprefix("torch.")


def plan_export(source: Path, dataset: Path | None = None, dtype: str | None = None) -> ExportPlan:
    """Find the checkpoint, its dataset (the run's first one unless given) and its tokenizer.

    dtype: "float32" or "bfloat16"; None keeps the checkpoint's.
    Raises CheckpointError for a folder without a complete checkpoint or without a tokenizer that fits it, ConfigError
    for an unknown dtype.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"--dtype={dtype} is not known; use one of {', '.join(DTYPES)}")
    checkpoint = find_checkpoint(source)
    facts = checkpoint_facts(checkpoint)
    embedding = next(
        (info for name, info in model_index(checkpoint).items() if name.endswith("word_embeddings.weight")), None
    )
    if embedding is None:
        raise CheckpointError(f"{checkpoint}: holds no word embedding, so no GPT; give a checkpoint of this project")
    folder = dataset or dataset_of_run(checkpoint)
    try:
        manifest = read_manifest(folder)
        tokenizer = tokenizer_file(folder, manifest)
    except DataError as error:
        raise CheckpointError(f"no tokenizer for {checkpoint}: {error} (or give the dataset with --dataset)") from error
    vocab_size = manifest["tokenizer"]["vocab_size"]
    if vocab_size != facts["vocab_size"]:
        raise CheckpointError(
            f"{folder}: its tokenizer has {vocab_size} ids, the checkpoint was trained with {facts['vocab_size']}; "
            "give the dataset of the run with --dataset"
        )
    return ExportPlan(
        checkpoint=checkpoint,
        facts=facts,
        model=model_config(facts),
        dataset=folder,
        manifest=manifest,
        tokenizer=tokenizer,
        dtype=DTYPES[dtype] if dtype else embedding.dtype,
        padded_vocab_size=embedding.shape[0],
    )


def dataset_of_run(checkpoint: Path) -> Path:
    """The first dataset of the run that a checkpoint lies in. Raises CheckpointError where that is not to be found."""
    config_file = checkpoint.absolute().parent.parent / "config.yaml"
    try:
        config = yaml.safe_load(config_file.read_text(encoding="utf-8"))
        return Path(config["data"]["datasets"][0]["path"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{checkpoint}: {config_file} does not say which dataset it was trained on; give it with --dataset"
        ) from error


def describe(plan: ExportPlan, out: Path) -> list[str]:
    """Lines for --dry-run."""
    shape = plan.shape
    return [
        f"checkpoint {plan.checkpoint}, step {plan.facts['step']}",
        f"{architecture(plan.model)}: {shape.num_layers} layers, hidden {shape.hidden_size}, "
        f"{shape.num_heads} heads × {shape.head_dim}, {shape.num_kv_groups} key-value groups",
        f"vocabulary {shape.vocab_size} ({plan.padded_vocab_size} with padding, which is cut off)",
        f"tokenizer {plan.tokenizer}",
        f"would write {out} as {plan.dtype_name}",
    ]


def architecture(model: ModelConfig) -> str:
    """The transformers class whose arithmetic is the model's."""
    return "Qwen3ForCausalLM" if model.qk_norm else "LlamaForCausalLM"


def export_run(
    source: Path, out: Path, *, dataset: Path | None = None, dtype: str | None = None, compare: bool = True
) -> dict[str, Any]:
    """Export a checkpoint, or the newest complete one of a run, to the folder `out`; returns what export.json says.

    dataset, dtype: see `plan_export`. compare: prove equal logits on held-out text (a failure leaves no folder).
    Raises CheckpointError for what cannot be exported or exports wrong, ConfigError where `out` is something else.
    """
    plan = plan_export(source, dataset, dtype)
    refuse_other_folder(out)
    verify_integrity(plan.checkpoint)
    with atomic_folder(out) as folder:
        write_model(plan, folder)
        eod = plan.manifest["tokenizer"]["eod_id"]
        convert_tokenizer(plan.tokenizer, folder, eod_id=eod, max_length=plan.model.sequence_length_tokens)
        export: dict[str, Any] = {
            "source": str(plan.checkpoint),
            "step": plan.facts["step"],
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "dtype": plan.dtype_name,
            "comparison": compare_or_raise(plan, folder) if compare else None,
            "tokenizer": prove_tokenizer(plan, folder),
        }
        write_json(folder / "export.json", export)
        (folder / "README.md").write_text(model_card(plan, export, out.name), encoding="utf-8")
        for file in folder.iterdir():
            file.chmod(0o644)  # safetensors writes for the owner alone
    return export


def refuse_other_folder(out: Path) -> None:
    """An existing folder is replaced only if it is an export or empty."""
    if out.exists() and not (out / "export.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not an export (no export.json); choose another folder")


def write_model(plan: ExportPlan, folder: Path) -> None:
    """Write weights (safetensors, in shards where they are large), config.json and generation_config.json."""
    from transformers import GenerationConfig
    from transformers.utils import logging

    weights = megatron_to_hf(read_model_weights(plan.checkpoint), plan.shape)
    # Separate memory for each: most are views of stacked layers, which safetensors does not save.
    exported = {name: weight.to(plan.dtype, copy=True).contiguous() for name, weight in weights.items()}
    model = empty_model(plan)
    if plan.model.tied_embeddings:
        exported["lm_head.weight"] = exported["model.embed_tokens.weight"]
    model.load_state_dict(exported, strict=True, assign=True)
    model.tie_weights()
    eod = plan.manifest["tokenizer"]["eod_id"]
    model.generation_config = GenerationConfig(bos_token_id=eod, eos_token_id=eod, pad_token_id=eod)
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    # transformers 5 keeps the rotary base in rope_parameters; transformers 4 and older engines look for it here.
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    write_json(config_file, {**config, "rope_theta": config["rope_parameters"]["rope_theta"]})


def empty_model(plan: ExportPlan) -> Any:
    """The transformers model without memory for its weights."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    model, eod = plan.model, plan.manifest["tokenizer"]["eod_id"]
    settings: dict[str, Any] = {
        "vocab_size": plan.facts["vocab_size"],
        "hidden_size": model.hidden_size,
        "intermediate_size": model.ffn_hidden_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_groups,
        "head_dim": model.head_dim,
        "max_position_embeddings": model.sequence_length_tokens,
        "rms_norm_eps": model.norm_epsilon,
        # the trainer hands Megatron whole numbers
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "tie_word_embeddings": model.tied_embeddings,
        "attention_bias": False,
        "initializer_range": model.init_std,
        "bos_token_id": eod,
        "eos_token_id": eod,
        "pad_token_id": eod,
        "dtype": plan.dtype,
    }
    with torch.device("meta"):
        built: Any = (
            Qwen3ForCausalLM(Qwen3Config(**settings)) if model.qk_norm else LlamaForCausalLM(LlamaConfig(**settings))
        )
    return built


def compare_or_raise(plan: ExportPlan, folder: Path) -> dict[str, Any]:
    """The comparison of the written folder with the checkpoint. Raises CheckpointError where they differ."""
    say("comparing logits with Megatron's on held-out text (FP32, CPU)")
    verdict = compare_logits(plan.checkpoint, folder, plan.dataset, dtype=plan.dtype)
    if not verdict["passed"]:
        raise CheckpointError(
            f"the export computes other logits than Megatron: the largest difference is "
            f"{verdict['max_abs_difference']:.2g} (allowed {LARGEST_DIFFERENCE:g}), the best token agrees on "
            f"{verdict['top1_agreement']:.2%}; nothing was written. --no-compare writes it for a closer look"
        )
    return verdict


def prove_tokenizer(plan: ExportPlan, folder: Path) -> dict[str, Any]:
    """Compare token ids with SentencePiece's on the whole held-out text. Raises CheckpointError where they differ."""
    texts = (document.text for document in read_held_out(plan.dataset))
    different, total = count_id_differences(plan.tokenizer, folder, texts)
    if different:
        raise CheckpointError(
            f"the exported tokenizer gives other ids than {plan.tokenizer} on {different} of {total} held-out "
            "documents; nothing was written. Please report it with the tokenizer.model"
        )
    return {"documents": total, "ids_equal": True}


def exported_dtype(export: Path) -> torch.dtype:
    """Type of the weights of an export. Raises CheckpointError for a folder that is none."""
    try:
        config = json.loads((export / "config.json").read_text(encoding="utf-8"))
        return DTYPES[config["dtype"]]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{export}: not an export of this project ({error!r}); make one with to-hf") from error
