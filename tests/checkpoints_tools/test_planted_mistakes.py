"""Every mistake that converters are known for, planted in the map or in config.json, is found by the comparison."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hf_models import Case
from megatron_references import reference_of
from safetensors.torch import save_file

from checkpoints_tools.compare_logits import compare_with_reference
from checkpoints_tools.families import hf_config
from checkpoints_tools.from_hf import CHECKPOINT
from checkpoints_tools.megatron_checkpoint import CheckpointReader, checkpoint_facts, model_config
from checkpoints_tools.weight_map import ModelShape, Row, hf_weights_of, rows, split_qkv
from megatron_recipe.errors import CheckpointError

LLAMA = Case("llama", False, 2, 101)
TIED = Case("llama", True, 2, 101)
LLAMA3 = Case("llama3", False, 2, 101)
QWEN2 = Case("qwen2", False, 2, 101)
QWEN3 = Case("qwen3", False, 2, 101)
EVERY = {str(case): case for case in (LLAMA, TIED, LLAMA3, QWEN2, QWEN3)}

Settings = dict[str, Any]
ChangeRow = Callable[[Row], Row]
ChangeConfig = Callable[[Settings], Settings]


def export(
    folder: Path,
    out: Path,
    change_row: ChangeRow = lambda row: row,
    change_config: ChangeConfig = lambda config: config,
) -> Path:
    """Export folder/imported by a changed table, with a changed config.json."""
    checkpoint = folder / "imported" / CHECKPOINT
    facts = checkpoint_facts(checkpoint)
    model = model_config(facts)
    shape, read = ModelShape.of(model, facts["vocab_size"]), CheckpointReader(checkpoint).read
    weights: dict[str, torch.Tensor] = {}
    for row in map(change_row, rows(shape)):
        weights.update(hf_weights_of(row, read, shape))
    out.mkdir()
    save_file({name: weight.clone().contiguous() for name, weight in weights.items()}, out / "model.safetensors")
    config = hf_config(model, facts["vocab_size"], facts["hf"]["special_ids"], "float32")
    (out / "config.json").write_text(json.dumps(change_config(config)))
    return out


def is_found(folder: Path, vocab_size: int, out: Path) -> bool:
    """Whether the comparison refuses the export or says that it differs."""
    try:
        return not compare_with_reference(reference_of(folder, vocab_size), out)["passed"]
    except CheckpointError:
        return True


def splitting(name: str, split: Callable[[torch.Tensor, ModelShape], tuple[torch.Tensor, ...]]) -> ChangeRow:
    """Other code in the place of the row's, for every layer."""
    return lambda row: row._replace(split=split) if row.megatron.endswith(name) else row


def renaming(**names: str) -> ChangeRow:
    """Hugging Face names that take one another's place."""

    def rename(name: str) -> str:
        return next((name.replace(old, new) for old, new in names.items() if old in name), name)

    return lambda row: row._replace(hf=tuple(map(rename, row.hf)))


def by_parts(qkv: torch.Tensor, shape: ModelShape) -> tuple[torch.Tensor, ...]:
    """All queries, then all keys, then all values: Megatron's layout for multi-head attention of long ago."""
    group = shape.num_kv_groups * shape.head_dim
    return qkv.split((shape.num_heads * shape.head_dim, group, group))


def heads_before_groups(qkv: torch.Tensor, shape: ModelShape) -> tuple[torch.Tensor, ...]:
    q, k, v = split_qkv(qkv, shape)
    shuffled = q.view(shape.num_kv_groups, -1, shape.head_dim, *q.shape[1:]).transpose(0, 1)
    return shuffled.reshape(q.shape), k, v


def for_metas_rotation(qkv: torch.Tensor, shape: ModelShape) -> tuple[torch.Tensor, ...]:
    """Rows permuted as weights in Meta's own format need it, which rotate neighbours and not halves."""

    def permute(part: torch.Tensor) -> torch.Tensor:
        return part.view(-1, shape.head_dim // 2, 2, part.shape[-1]).transpose(1, 2).reshape(part.shape)

    q, k, v = split_qkv(qkv, shape)
    return permute(q), permute(k), v


def swapped_values(qkv: torch.Tensor, shape: ModelShape) -> tuple[torch.Tensor, ...]:
    q, k, v = split_qkv(qkv, shape)
    return q, v, k


def without_bias(bias: torch.Tensor, shape: ModelShape) -> tuple[torch.Tensor, ...]:
    return split_qkv(torch.zeros_like(bias), shape)


def last_rows(weight: torch.Tensor, shape: ModelShape) -> tuple[torch.Tensor, ...]:
    return (weight[-shape.vocab_size :],)


def other_layers(row: Row) -> Row:
    swap = {"layers.0.": "layers.1.", "layers.1.": "layers.0."}
    return row._replace(hf=tuple(next((n.replace(a, b) for a, b in swap.items() if a in n), n) for n in row.hf))


def head_of_the_embedding(row: Row) -> Row:
    name = "embedding.word_embeddings.weight"
    return row._replace(megatron=name) if row.megatron == "output_layer.weight" else row


def with_rope(**changes: Any) -> ChangeConfig:
    """Other rotary settings in all places."""

    def change(config: Settings) -> Settings:
        rope = {**config["rope_parameters"], **changes}
        return {**config, "rope_parameters": rope, "rope_theta": rope["rope_theta"], "rope_scaling": rope}

    return change


def setting(**changes: Any) -> ChangeConfig:
    return lambda config: {**config, **changes}


FC1, QKV, BIAS = "mlp.linear_fc1.weight", "linear_qkv.weight", "linear_qkv.bias"
IN_THE_MAP: dict[str, tuple[Case, ChangeRow]] = {
    "gate and up swapped": (LLAMA, splitting(FC1, lambda weight, shape: weight.chunk(2)[::-1])),
    "gate and up interleaved": (LLAMA, splitting(FC1, lambda weight, shape: (weight[::2], weight[1::2]))),
    "key-value groups ignored": (LLAMA, splitting(QKV, by_parts)),
    "query heads in the wrong groups": (LLAMA, splitting(QKV, heads_before_groups)),
    "keys and values swapped": (LLAMA, splitting(QKV, swapped_values)),
    "rows permuted as for Meta's rotation": (LLAMA, splitting(QKV, for_metas_rotation)),
    "biases in another order than the matrix": (QWEN2, splitting(BIAS, by_parts)),
    "biases lost": (QWEN2, splitting(BIAS, without_bias)),
    "norms of queries and keys swapped": (QWEN3, renaming(q_norm="k_norm", k_norm="q_norm")),
    "norms before and after attention swapped": (
        LLAMA,
        renaming(input_layernorm="post_attention_layernorm", post_attention_layernorm="input_layernorm"),
    ),
    "output projection transposed": (LLAMA, splitting("linear_proj.weight", lambda weight, shape: (weight.T,))),
    "norms less one": (LLAMA, splitting("norm_weight", lambda weight, shape: (weight - 1,))),
    "padding kept and the first rows cut": (LLAMA, splitting("word_embeddings.weight", last_rows)),
    "padding kept in the output layer": (LLAMA, splitting("output_layer.weight", last_rows)),
    "layers in another order": (LLAMA, other_layers),
    "an untied output layer tied": (LLAMA, head_of_the_embedding),
    "rounded to BF16": (LLAMA, splitting("linear_fc2.weight", lambda weight, shape: (weight.bfloat16().float(),))),
}
IN_CONFIG: dict[str, tuple[Case, ChangeConfig]] = {
    "rope theta lost": (QWEN2, with_rope(rope_theta=10000.0)),
    "rope scaling lost": (LLAMA3, with_rope(rope_type="default")),
    "another scaling factor": (LLAMA3, with_rope(factor=8.0)),
    "another original length": (LLAMA3, with_rope(original_max_position_embeddings=8192)),
    "epsilon 1e-5 for 1e-6": (QWEN3, setting(rms_norm_eps=1e-5)),
    "epsilon 1e-6 for 1e-5, which no logit shows": (LLAMA, setting(rms_norm_eps=1e-5 * 1.001)),
    "an untied model said to be tied": (LLAMA, setting(tie_word_embeddings=True)),
    "a tied model said to be untied": (TIED, setting(tie_word_embeddings=False)),
    "padding in the vocabulary": (LLAMA, setting(vocab_size=128)),
    "heads as wide as hidden by heads": (QWEN3, setting(head_dim=8)),
    "fewer key-value groups": (LLAMA, setting(num_key_value_heads=1)),
    "the class without norms": (QWEN3, setting(model_type="llama", architectures=["LlamaForCausalLM"])),
    "the class without biases": (QWEN2, setting(model_type="llama", architectures=["LlamaForCausalLM"])),
    "another activation": (LLAMA, setting(hidden_act="gelu")),
    "a window": (LLAMA, setting(model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=8)),
}


@pytest.mark.parametrize("name", EVERY)
def test_without_a_mistake_it_passes(family_models, tmp_path, name):
    case = EVERY[name]
    assert not is_found(family_models / name, case.vocab_size, export(family_models / name, tmp_path / "out"))


@pytest.mark.parametrize("mistake", IN_THE_MAP)
def test_a_mistake_in_the_map_is_found(family_models, tmp_path, mistake):
    case, change = IN_THE_MAP[mistake]
    folder = family_models / str(case)
    out = export(folder, tmp_path / "out", change_row=change)
    verdict = compare_with_reference(reference_of(folder, case.vocab_size), out)
    assert not verdict["passed"] and verdict["max_abs_difference"] > verdict["allowed_difference"]
    assert verdict["first_differing_layer"] is not None


@pytest.mark.parametrize("mistake", IN_CONFIG)
def test_a_mistake_in_config_json_is_found(family_models, tmp_path, mistake):
    case, change = IN_CONFIG[mistake]
    folder = family_models / str(case)
    assert is_found(folder, case.vocab_size, export(folder, tmp_path / "out", change_config=change))
