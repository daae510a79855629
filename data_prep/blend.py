"""Weights for a mix of datasets, with the epochs each would be repeated. Run: megatron-recipe data blend DATASET...

The result is the `data` section of a training recipe: `megatron-recipe train gpt_1b --set data.datasets=blend.yaml`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from data_prep.manifest import read_manifest
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.files import atomic_file
from megatron_recipe.settings import suggestion

MANY_EPOCHS = 4.0
"""Up to four epochs repeated text is worth nearly as much as new text, beyond it loses fast (Muennighoff et al. 2023,
arXiv 2305.16264)."""


@dataclass(frozen=True)
class Part:
    """One dataset of a mix."""

    path: Path
    category: str
    """That of most of its text; "unknown" where the sources name none."""
    tokens: int
    """Of its training split."""
    weight: float = 0.0
    """Share of the mix's samples; all weights sum to 1."""

    def epochs(self, total_tokens: int) -> float:
        """How often the dataset is read when `total_tokens` are drawn from the mix."""
        return self.weight * total_tokens / self.tokens


def read_parts(datasets: Sequence[Path]) -> list[Part]:
    """What the datasets' manifests say.

    Raises:
        DataError: one is no dataset, or two have different tokenizers.
        ConfigError: two have one name, by which weights are given.
    """
    manifests = [read_manifest(path) for path in datasets]
    for path, manifest in zip(datasets, manifests, strict=True):
        if manifest["tokenizer"]["sha256"] != manifests[0]["tokenizer"]["sha256"]:
            raise DataError(
                f"{path} has another tokenizer than {datasets[0]}, whose ids it would mix with; write it again with "
                f"`data prepare --tokenizer {datasets[0] / manifests[0]['tokenizer']['file']}`"
            )
    names = [path.resolve().name for path in datasets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"two datasets are called {twice!r}; rename the folder of one, weights are given by name")
    return [
        Part(path, _category(manifest["sources"]), manifest["splits"]["train"]["tokens"])
        for path, manifest in zip(datasets, manifests, strict=True)
    ]


def _category(sources: list[dict]) -> str:
    sizes: dict[str, int] = {}
    for source in sources:
        name = source.get("category", "unknown")
        sizes[name] = sizes.get(name, 0) + source["bytes"]
    return max(sizes, key=lambda name: (sizes[name], name), default="unknown")


def blend(parts: Sequence[Part], shares: Mapping[str, float], alpha: float = 1.0) -> list[Part]:
    """The parts with weights.

    Args:
        shares: of the whole mix, by name of a dataset or of a category, whose datasets divide it by tokens^alpha.
            What is left goes to the datasets that none of the names means, again by tokens^alpha.
        alpha: 1 takes datasets by their size, 0 all alike, between them small ones are raised (Devlin et al. 2018,
            multilingual BERT, used 0.7).

    Raises:
        ConfigError: a name means no dataset or one that another name means, or shares that cannot be.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha={alpha} must be between 0 (all datasets alike) and 1 (by their size)")
    weights: dict[int, float] = {}
    for name, share in shares.items():
        if not 0 < share < math.inf:
            raise ConfigError(f"weight {name}={share:g} must be above 0; leave the dataset out instead")
        members = _meant(name, parts)
        for index, weight in _divide(share, members, parts, alpha).items():
            if index in weights:
                raise ConfigError(f"{parts[index].path}: two weights mean it, {name!r} the second; give one")
            weights[index] = weight
    rest = [index for index in range(len(parts)) if index not in weights]
    given = sum(shares.values())
    if given > 1 + 1e-9 or (not rest and abs(given - 1) > 1e-9) or (rest and given > 1 - 1e-9):
        rule = "must leave a part of 1 for the other datasets" if rest else "must sum to 1"
        raise ConfigError(f"the weights sum to {given:g}, they {rule}; they are shares of the whole mix")
    weights |= _divide(1 - given, rest, parts, alpha)
    return [Part(part.path, part.category, part.tokens, weights[index]) for index, part in enumerate(parts)]


def _meant(name: str, parts: Sequence[Part]) -> list[int]:
    by_name = [index for index, part in enumerate(parts) if part.path.resolve().name == name]
    found = by_name or [index for index, part in enumerate(parts) if part.category == name]
    if not found:
        known = sorted({part.path.resolve().name for part in parts} | {part.category for part in parts})
        raise ConfigError(f"weight {name}: no such dataset or category{suggestion(name, known)}; {', '.join(known)}")
    return found


def _divide(share: float, members: Sequence[int], parts: Sequence[Part], alpha: float) -> dict[int, float]:
    sizes = {index: float(parts[index].tokens) ** alpha for index in members}
    return {index: share * size / sum(sizes.values()) for index, size in sizes.items()}


def write_blend(parts: Sequence[Part], path: Path) -> None:
    """Write the `data.datasets` section that a training recipe reads; weights with six digits."""
    datasets = [{"path": str(part.path), "weight": float(f"{part.weight:.6g}")} for part in parts]
    with atomic_file(path) as file:
        yaml.safe_dump({"data": {"datasets": datasets}}, file, sort_keys=False, allow_unicode=True)
