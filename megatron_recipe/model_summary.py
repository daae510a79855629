"""All ranks' readings of the model in a few fields of a record."""

import math
from collections import defaultdict
from typing import Any

from megatron_recipe.rank_readings import Reading

GRADIENT, WEIGHT, UPDATE, SAMPLED, ZEROS, GRADIENTS, COUNT = range(7)


def model_summary(readings: list[Reading]) -> dict[str, Any]:
    """Fields of a record; none where no rank has read its model.

    Of each kind of layer (attention, feed_forward, norms, embedding, output), where there is one: `grad_norm_KIND`
    (before clipping), `weight_rms_KIND`, `update_ratio_KIND` (root mean square of the step's change to that of the
    weights). `update_ratio`: of the matrices inside the layers. `zero_grad_share`: of all gradients inside the layers
    that are exactly 0.
    `attention_logit_max`, `logit_max`: largest that were seen. Lists by layer, from the first: `layer_grad_norms`,
    `layer_activation_rms`, `layer_attention_logits`.
    """
    found = [reading["model"] for reading in readings if reading.get("model")]
    if not found:
        return {}
    kinds: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * 7)
    layers: defaultdict[int, list[float]] = defaultdict(lambda: [0.0] * 7)
    for reading in found:
        for name, values in reading["weights"].items():
            layer, kind = name.split("/")
            for total in (kinds[kind], layers[int(layer)]):
                total[:] = [a + b for a, b in zip(total, values, strict=True)]
    fields: dict[str, Any] = {}
    for kind, sums in kinds.items():
        fields[f"grad_norm_{kind}"] = math.sqrt(sums[GRADIENT])
        fields[f"weight_rms_{kind}"] = math.sqrt(sums[WEIGHT] / max(sums[COUNT], 1.0))
        fields[f"update_ratio_{kind}"] = _root_ratio(sums[UPDATE], sums[SAMPLED])
    matrices = [kinds[kind] for kind in ("attention", "feed_forward") if kind in kinds]
    fields["update_ratio"] = _root_ratio(
        sum(sums[UPDATE] for sums in matrices), sum(sums[SAMPLED] for sums in matrices)
    )
    inside = [sums for layer, sums in layers.items() if layer]
    gradients = sum(sums[GRADIENTS] for sums in inside)
    fields["zero_grad_share"] = sum(sums[ZEROS] for sums in inside) / gradients if gradients else None
    fields["layer_grad_norms"] = [_short(math.sqrt(layers[layer][GRADIENT])) for layer in sorted(layers) if layer]
    return fields | _activations(found)


def _activations(found: list[Reading]) -> dict[str, Any]:
    squares: defaultdict[int, list[float]] = defaultdict(list)
    logits: defaultdict[int, list[float]] = defaultdict(list)
    for reading in found:
        for layer, values in reading["layers"].items():
            if "mean_square" in values:
                squares[layer].append(values["mean_square"])
            if "attention_logit" in values:
                logits[layer].append(values["attention_logit"])
    highest = [reading["logit"] for reading in found if reading["logit"] is not None]
    rms = [_short(math.sqrt(sum(squares[layer]) / len(squares[layer]))) for layer in sorted(squares)]
    attention = [_short(_largest(logits[layer])) for layer in sorted(logits)]
    return {
        "activation_rms_last": rms[-1] if rms else None,
        "attention_logit_max": _largest(attention) if attention else None,
        "logit_max": _largest(highest) if highest else None,
        "layer_activation_rms": rms,
        "layer_attention_logits": attention,
    }


def _largest(values: list[float]) -> float:
    """The largest; not a number where one is none, which `max` would pass over."""
    return math.nan if any(math.isnan(value) for value in values) else max(values)


def _root_ratio(one: float, other: float) -> float | None:
    return math.sqrt(one / other) if other > 0 else None


def _short(value: float) -> float:
    """Four digits: lists by layer make most of a record."""
    return float(f"{value:.4g}")
