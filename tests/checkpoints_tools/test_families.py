"""Hugging Face → Megatron → Hugging Face for tiny random models of every family: weights bitwise, logits equal."""

import json
from typing import Any

import pytest
import torch
from hf_models import Case, exported, matrix
from megatron_references import reference_of
from safetensors.torch import load_file

from checkpoints_tools.compare_logits import compare_with_reference
from checkpoints_tools.families import (
    COMMON_DEFAULTS,
    FAMILIES,
    Family,
    family_of,
    hf_config,
    read_hf_config,
)
from checkpoints_tools.from_hf import CHECKPOINT
from megatron_recipe.errors import CheckpointError

MATRIX = matrix()


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_weights_come_back_bitwise_and_logits_are_equal(family_models, case):
    folder = family_models / str(case)
    original, back = load_file(folder / "hf/model.safetensors"), exported(folder / "imported" / CHECKPOINT)
    assert back.keys() == original.keys()
    assert all(torch.equal(back[name], original[name]) for name in original)
    verdict = compare_with_reference(reference_of(folder, case.vocab_size), folder / "hf")
    assert verdict["max_abs_difference"] < 1e-4 and verdict["top1_agreement"] == 1.0, verdict
    assert verdict["passed"] and verdict["largest_logit"] > 1, verdict


def transformers_config(settings: dict[str, object]) -> Any:
    """As transformers reads a config.json."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[settings["model_type"]].from_dict(dict(settings))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_config_json_leaves_out_is_what_transformers_assumes(family: Family):
    theirs = transformers_config({"model_type": family.model_type})
    for name, value in {**COMMON_DEFAULTS, **family.defaults}.items():
        # an object forgets a window that is not used
        assert value == getattr(type(theirs) if name == "sliding_window" else theirs, name), name
    empty = read_hf_config({"model_type": family.model_type}, 4096)
    assert empty.model.rope_theta == theirs.rope_parameters["rope_theta"]
    assert empty.model.num_kv_groups == theirs.num_key_value_heads
    assert empty.model.head_dim == getattr(theirs, "head_dim", theirs.hidden_size // theirs.num_attention_heads)
    assert family_of(empty.model, family.model_type) is family


@pytest.mark.parametrize("case", [one for one in MATRIX if one.vocab_size == 101 and one.groups == 2], ids=str)
def test_config_json_comes_back(family_models, case):
    """What transformers reads of our config.json is what it reads of its own."""
    written = json.loads((family_models / str(case) / "hf/config.json").read_text())
    hf = read_hf_config(written)
    again = hf_config(hf.model, hf.vocab_size, hf.special_ids, "float32", hf.family.model_type)
    assert read_hf_config(again) == hf
    ours, theirs = transformers_config(again).to_dict(), transformers_config(written).to_dict()
    dropped = {"transformers_version", "sliding_window", "use_sliding_window"}
    different = {name for name in theirs if ours.get(name) != theirs[name]} - dropped
    # explicit, where that class derives it
    assert different <= {"head_dim", "layer_types", "max_window_layers"}, {
        n: (ours.get(n), theirs[n]) for n in different
    }


def test_the_older_places_of_rope_settings_are_read():
    common = {"model_type": "llama", "max_position_embeddings": 8192}
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    old = read_hf_config({**common, "rope_theta": 5e5, "rope_scaling": {"type": "llama3", **scaling}})
    new = read_hf_config({**common, "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **scaling}})
    assert old.model == new.model and new.model.rope_scaling.original_length_tokens == 64
    assert new.model.rope_theta == 5e5 and new.model.rope_scaling.factor == 8
    plain = read_hf_config({**common, "rope_theta": 123.0, "rope_scaling": None})
    assert plain.model.rope_theta == 123 and plain.model.rope_scaling.factor == 1
    assert read_hf_config({**common, "rope_parameters": {"rope_theta": 7.0}}).model.rope_theta == 7


def test_both_places_are_written_for_older_readers():
    for case in (Case("llama3", False, 2, 101), Case("qwen2", True, 1, 128)):
        hf = read_hf_config({**case.settings(), "model_type": "llama" if "llama" in case.family else "qwen2"})
        written = hf_config(hf.model, hf.vocab_size, hf.special_ids, "bfloat16")
        without_new = {name: value for name, value in written.items() if name != "rope_parameters"}
        without_old = {name: value for name, value in written.items() if name not in ("rope_theta", "rope_scaling")}
        assert read_hf_config(without_new).model == read_hf_config(without_old).model == hf.model


REFUSED = {
    "another class": ({"model_type": "mixtral"}, "model_type=mixtral.*known: llama, qwen2, qwen3, mistral"),
    "another head": ({"architectures": ["LlamaForSequenceClassification"]}, "only LlamaForCausalLM"),
    "attention biases": ({"attention_bias": True}, "attention_bias=true"),
    "feed-forward biases": ({"mlp_bias": True}, "mlp_bias=true"),
    "another activation": ({"hidden_act": "gelu"}, "hidden_act=gelu"),
    "quantized": ({"quantization_config": {"bits": 4}}, "quantized"),
    "yarn": ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_type=yarn"),
    "half of llama3": ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "needs high_freq_factor, low_freq"),
    "rope by layer": ({"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "each kind of layer"),
    "partly rotated": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    "a window": ({"model_type": "mistral"}, "sliding_window=4096 .* 131072 tokens.*--sequence-length 4096"),
    "a window of later layers": (
        {"model_type": "qwen2", "use_sliding_window": True},
        "sliding_window=4096 is shorter than the sequence length, 32768",
    ),
    "no number": ({"hidden_size": "wide"}, "hidden_size='wide': must be a whole number above 0"),
    "less than nothing": ({"num_hidden_layers": -1}, "num_hidden_layers=-1"),
    "no width": ({"head_dim": "wide"}, "no LlamaForCausalLM can be built.*head_dim"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_built_here_is_refused_by_name(name):
    changes, words = REFUSED[name]
    with pytest.raises(CheckpointError, match=words):
        read_hf_config({"model_type": "llama", **changes})


def test_a_window_that_no_text_reaches_is_no_window():
    assert read_hf_config({"model_type": "mistral"}, 4096).model.sequence_length_tokens == 4096
    assert read_hf_config({"model_type": "qwen2"}).model.sequence_length_tokens == 32768
    assert read_hf_config({"model_type": "mistral", "sliding_window": None}).family.architecture == "MistralForCausalLM"


def test_a_model_that_no_class_computes_is_not_exported():
    model = read_hf_config({"model_type": "qwen3"}).model
    with pytest.raises(CheckpointError, match="no Hugging Face class computes both"):
        family_of(model.model_copy(update={"qkv_bias": True}))


def test_heads_that_llama_refuses_are_mistrals():
    model = read_hf_config({"model_type": "mistral", "head_dim": 128}, 4096).model
    odd = model.model_copy(update={"num_heads": 24, "num_kv_groups": 8})
    assert family_of(model).model_type == "llama" and family_of(odd).model_type == "mistral"
    transformers_config(hf_config(odd, 100, {}, "float32"))
