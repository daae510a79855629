"""The datasets that `megatron-recipe data download` knows, by name: one file each in this folder."""

from data_prep.sources.fineweb import FINEWEB
from data_prep.sources.fineweb_edu import FINEWEB_EDU
from data_prep.sources.hub_dataset import HubDataset, did_you_mean
from data_prep.sources.refinedweb import REFINEDWEB
from data_prep.sources.skypile import SKYPILE
from data_prep.sources.the_stack import THE_STACK
from data_prep.sources.wanjuan import WANJUAN
from megatron_recipe.errors import ConfigError

DATASETS: dict[str, HubDataset] = {
    dataset.name: dataset for dataset in (FINEWEB, FINEWEB_EDU, SKYPILE, REFINEDWEB, WANJUAN, THE_STACK)
}


def find_dataset(name: str) -> HubDataset:
    """The dataset of that name; `-` and `_` are alike.

    Raises:
        ConfigError: there is none; the message lists those that are and suggests the nearest.
    """
    dataset = DATASETS.get(name.lower().replace("-", "_"))
    if dataset is None:
        raise ConfigError(f"unknown dataset {name!r}; known are {', '.join(DATASETS)}{did_you_mean(name, [*DATASETS])}")
    return dataset


def describe() -> list[str]:
    """The catalogue as lines of text, in English and Chinese."""
    lines = []
    for dataset in DATASETS.values():
        lines.append(f"{dataset.name}: {dataset.about_en}")
        lines.append(f"    {dataset.about_zh}")
        lines.append(f"    {dataset.category}, {', '.join(dataset.languages)}, {dataset.license}, {dataset.home}")
        for subset in dataset.subsets[:4]:
            tokens = f"{subset.tokens / 1e9:,.0f} billion tokens" if subset.tokens else "tokens not published"
            size = f"{subset.gigabytes:,.1f} GB" if subset.gigabytes else "size: see --dry-run"
            lines.append(f"    --subset {subset.name}: {tokens}, {size}")
    return lines
