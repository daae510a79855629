"""Hugging Face model classes that a `ModelConfig` can be, and their config.json, in both directions.

All are Llama with small differences (transformers/models/<model_type>/configuration_*.py and modeling_*.py, 5.23):
Qwen 2 adds a bias to queries, keys and values, Qwen 3 norms queries and keys, Mistral may look back over a window only.
What a class can do and Megatron's layers here do not is refused by name: nothing is converted almost right.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from megatron_recipe.errors import CheckpointError

if TYPE_CHECKING:
    from megatron_recipe.config import ModelConfig

Settings = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """One model class of transformers."""

    model_type: str
    architecture: str
    qkv_bias: bool = False
    qk_norm: bool = False
    defaults: Settings = field(default_factory=dict)
    """What transformers assumes where config.json is silent, as far as it is not the same for all."""
    plain: Settings = field(default_factory=dict)
    """Settings that switch off what Megatron's layers lack; written on export."""


LLAMA = Family(
    "llama",
    "LlamaForCausalLM",
    defaults={"vocab_size": 32000, "intermediate_size": 11008, "max_position_embeddings": 2048},
    plain={"attention_bias": False, "mlp_bias": False},
)
QWEN2 = Family(
    "qwen2",
    "Qwen2ForCausalLM",
    qkv_bias=True,
    defaults={
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "max_position_embeddings": 32768,
        "num_key_value_heads": 32,
        "sliding_window": 4096,
    },
    plain={"use_sliding_window": False, "sliding_window": None},
)
QWEN3 = Family(
    "qwen3",
    "Qwen3ForCausalLM",
    qk_norm=True,
    defaults={**QWEN2.defaults, "head_dim": 128},
    plain={"attention_bias": False, **QWEN2.plain},
)
MISTRAL = Family(
    "mistral",
    "MistralForCausalLM",
    defaults={
        "vocab_size": 32000,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
    },
    plain={"sliding_window": None},
)
FAMILIES = {family.model_type: family for family in (LLAMA, QWEN2, QWEN3, MISTRAL)}
COMMON_DEFAULTS: Settings = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
}
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
DEFAULT_ROPE_THETA = 10_000.0
LLAMA3_ROPE = {
    "factor": "factor",
    "low_freq_factor": "low_frequency_factor",
    "high_freq_factor": "high_frequency_factor",
    "original_max_position_embeddings": "original_length_tokens",
}
"""Names of Llama 3's rope scaling in config.json and in `model.rope_scaling`."""


@dataclass(frozen=True)
class HfModel:
    """What a config.json says: the class, our configuration of the same model, and the ids it gives meaning to."""

    family: Family
    model: "ModelConfig"
    vocab_size: int
    special_ids: Settings
    """bos_token_id, eos_token_id (a number or a list), pad_token_id; None where there is none."""


def family_of(model: "ModelConfig", model_type: str | None = None) -> Family:
    """The class whose arithmetic is this model's; `model_type` where it fits, for one that came from Hugging Face.

    Raises CheckpointError where no class has all of the model's features.
    """
    fitting = [one for one in FAMILIES.values() if (one.qkv_bias, one.qk_norm) == (model.qkv_bias, model.qk_norm)]
    if model.hidden_size % model.num_heads:  # which LlamaConfig refuses, and Mistral without a window is the same
        fitting = [one for one in fitting if one is not LLAMA]
    if not fitting:
        raise CheckpointError(
            f"model.qkv_bias={model.qkv_bias} with model.qk_norm={model.qk_norm}: no Hugging Face class computes both "
            f"({', '.join(one.architecture for one in FAMILIES.values())}); the model cannot be exported"
        )
    return next((one for one in fitting if one.model_type == model_type), fitting[0])


def hf_config(
    model: "ModelConfig", vocab_size: int, special_ids: Settings, dtype: str, model_type: str | None = None
) -> Settings:
    """config.json of a model.

    Args:
        vocab_size: without padding.
        special_ids: bos_token_id, eos_token_id and pad_token_id.
        dtype: of the weights, `bfloat16` for example.
        model_type: see `family_of`.
    """
    family, scaling = family_of(model, model_type), model.rope_scaling
    rope: Settings = {"rope_type": "default"}
    if scaling.factor != 1:
        rope = {"rope_type": "llama3", **{hf: getattr(scaling, ours) for hf, ours in LLAMA3_ROPE.items()}}
    return {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "vocab_size": vocab_size,
        "hidden_size": model.hidden_size,
        "intermediate_size": model.ffn_hidden_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_groups,
        "head_dim": model.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": model.sequence_length_tokens,
        "rms_norm_eps": model.norm_epsilon,
        "rope_parameters": {**rope, "rope_theta": model.rope_theta},
        # transformers 5 reads the line above; transformers 4 and older engines look here
        "rope_theta": model.rope_theta,
        **({"rope_scaling": rope} if scaling.factor != 1 else {}),
        "tie_word_embeddings": model.tied_embeddings,
        **family.plain,
        "attention_dropout": 0.0,
        "initializer_range": model.init_std,
        **special_ids,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def read_hf_config(config: Settings, sequence_length_tokens: int | None = None) -> HfModel:
    """Our configuration of the model that a config.json describes.

    Args:
        config: as parsed; what it leaves out is what transformers assumes.
        sequence_length_tokens: longest text that the model is meant for; None takes max_position_embeddings.

    Raises:
        CheckpointError: another class, a setting that Megatron's layers here lack, a value that is none.
    """
    from pydantic import ValidationError

    from megatron_recipe.config import ModelConfig

    family = _family_in(config)
    values = {**COMMON_DEFAULTS, **family.defaults, **config}
    length = sequence_length_tokens or values["max_position_embeddings"]
    problems = list(_problems(values, family, length))
    if problems:
        raise CheckpointError("config.json: " + "\nconfig.json: ".join(problems))
    rope = _rope_parameters(values)
    scaled = rope["rope_type"] == "llama3"
    try:
        model = ModelConfig(
            num_layers=values["num_hidden_layers"],
            hidden_size=values["hidden_size"],
            ffn_hidden_size=values["intermediate_size"],
            num_heads=values["num_attention_heads"],
            num_kv_groups=values.get("num_key_value_heads") or values["num_attention_heads"],
            head_dim=values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"],
            sequence_length_tokens=length,
            rope_theta=rope["rope_theta"],
            rope_scaling={ours: rope[hf] for hf, ours in LLAMA3_ROPE.items()} if scaled else {},  # type: ignore[arg-type]  # pydantic builds the section
            norm_epsilon=values["rms_norm_eps"],
            qk_norm=family.qk_norm,
            qkv_bias=family.qkv_bias,
            tied_embeddings=values["tie_word_embeddings"],
            init_std=values["initializer_range"],
        )
        vocab_size = int(values["vocab_size"])
    except (ValidationError, TypeError, ValueError, KeyError) as error:
        reason = "; ".join(str(error).splitlines()[1:3]) if isinstance(error, ValidationError) else repr(error)
        raise CheckpointError(f"config.json: no {family.architecture} can be built of it ({reason.strip()})") from error
    special = {name: config.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return HfModel(family, model, vocab_size, special)


def _family_in(config: Settings) -> Family:
    model_type, architectures = config.get("model_type"), config.get("architectures") or []
    family = FAMILIES.get(str(model_type))
    if family is None:
        raise CheckpointError(
            f"config.json: model_type={model_type} is not one that can be converted; known: {', '.join(FAMILIES)}. "
            "Mixtures of experts and models with other layers are none of them"
        )
    if architectures and family.architecture not in architectures:
        raise CheckpointError(
            f"config.json: architectures={architectures}, but only {family.architecture}, which predicts the next "
            "token, can be trained on; give the folder of the base model"
        )
    return family


def _problems(values: Settings, family: Family, length: int) -> Iterator[str]:
    """Values that make no model, and settings that change the arithmetic in ways that Megatron's layers here lack."""
    no_numbers = [name for name in SIZES if not isinstance(values[name], int) or values[name] < 1]
    if no_numbers:
        yield from (f"{name}={values[name]!r}: must be a whole number above 0" for name in no_numbers)
        return
    if values["hidden_act"] not in ("silu", "swish"):
        yield f"hidden_act={values['hidden_act']}: only silu is built here"
    for name in ("attention_bias", "mlp_bias"):
        if values.get(name):
            yield f"{name}=true: biases are built for queries, keys and values of qwen2 alone"
    if values.get("quantization_config"):
        yield "quantization_config: the weights are quantized; give the folder of the model in bfloat16"
    rope = _rope_parameters(values)
    if rope["rope_type"] not in ("default", "llama3"):
        yield f"rope_type={rope['rope_type']}: only the plain rotary embedding and llama3's scaling are built here"
    if rope["rope_type"] == "llama3" and (missing := sorted(LLAMA3_ROPE.keys() - rope.keys())):
        yield f"rope_type=llama3 needs {', '.join(missing)} too"
    if rope.get("partial_rotary_factor", values.get("partial_rotary_factor") or 1.0) != 1.0:
        yield "partial_rotary_factor: only heads that are rotated whole are built here"
    window = values.get("sliding_window")
    if family.qkv_bias or family.qk_norm:
        window = window if values.get("use_sliding_window") else None
    if window is not None and window < length:
        yield (
            f"sliding_window={window} is shorter than the sequence length, {length} tokens, and attention over a "
            f"window is not built here; up to {window} tokens it makes no difference: --sequence-length {window}"
        )


def _rope_parameters(values: Settings) -> Settings:
    """rope_type, rope_theta and what belongs to the type; transformers before 5 had rope_theta outside."""
    # rope_scaling is read first where both are there, as transformers does
    rope = {**(values.get("rope_scaling") or values.get("rope_parameters") or {})}
    rope["rope_type"] = rope.get("rope_type", rope.get("type", "default"))
    if any(isinstance(value, dict) for value in rope.values()):
        rope["rope_type"] = "another one for each kind of layer"
    rope.setdefault("original_max_position_embeddings", values["max_position_embeddings"])
    theta = rope.get("rope_theta", values.get("rope_theta"))
    return {**rope, "rope_theta": DEFAULT_ROPE_THETA if theta is None else theta}
