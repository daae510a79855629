"""Whether a checkpoint is of the model that a configuration describes, from its marker alone."""

from collections.abc import Collection
from typing import Any

from megatron_recipe.config import ModelConfig
from megatron_recipe.settings import Section

NOT_IN_WEIGHTS = ("sequence_length_tokens",)
"""The length of the samples changes no weight."""


def differences(
    marker: dict[str, Any], model: ModelConfig, vocab_size: int, beside: Collection[str] = NOT_IN_WEIGHTS
) -> list[str]:
    """Each field in which the checkpoint's model differs from the recipe's, with both values.

    Args:
        marker: of the checkpoint. A field that it lacks is younger than it, and was what the field's default is.
        vocab_size: of the recipe's model.
        beside: fields that may differ.
    """
    saved = {**_defaults(), **marker.get("model", {}), "vocab_size": marker.get("vocab_size")}
    wanted = {**model.model_dump(mode="json"), "vocab_size": vocab_size}
    return [
        f"{name}={saved.get(name)} in the checkpoint, {wanted[name]} in the recipe"
        for name in wanted
        if name not in beside and saved.get(name) != wanted[name]
    ]


def _defaults() -> dict[str, Any]:
    return {
        name: field.default.model_dump(mode="json") if isinstance(field.default, Section) else field.default
        for name, field in ModelConfig.model_fields.items()
        if not field.is_required()
    }
