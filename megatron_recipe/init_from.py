"""`train.init_from`: which checkpoint a run begins with, and whether it fits; answered without torch.

A run that has a checkpoint of its own goes on from that, and doesn't look at `train.init_from` again.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.manifest import read_manifest
from megatron_recipe.architecture import NOT_IN_WEIGHTS, differences
from megatron_recipe.checkpoint_integrity import MARKER, marker_is_whole
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts, vocabulary
from megatron_recipe.errors import ConfigError

MAY_DIFFER = (*NOT_IN_WEIGHTS, "init_std")
TOKENIZER = "tokenizer/tokenizer.json"


def check_init_from(config: Config, facts: list[DatasetFacts], run_dir: Path) -> None:
    """Raise one ConfigError if `train.init_from` is no whole checkpoint of this model and tokenizer.

    Args:
        facts: of the datasets, which share one tokenizer.
        run_dir: of the run; with a checkpoint in it there is nothing to check.
    """
    if not begins_with_others(config, run_dir):
        return
    assert config.train.init_from is not None
    folder = find_weights(config.train.init_from)
    marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    problems = [*_problems(folder, marker, config, facts)]
    if problems:
        raise ConfigError("\n".join(f"train.init_from={config.train.init_from}: {problem}" for problem in problems))


def begins_with_others(config: Config, run_dir: Path) -> bool:
    """Whether the run in `run_dir` would begin with weights of another one, having no checkpoint of its own."""
    return config.train.init_from is not None and not any(run_dir.glob(f"checkpoints/step_*/{MARKER}"))


def find_weights(init_from: str) -> Path:
    """The checkpoint folder meant by `train.init_from`: itself, or the newest whole one of a run or `from-hf` folder.

    Raises ConfigError where there is none.
    """
    path = Path(init_from)
    found = [marker.parent for marker in (path / MARKER, *path.glob(f"checkpoints/*_*/{MARKER}")) if marker.is_file()]
    whole = [folder for folder in found if marker_is_whole(folder)]
    if not whole:
        reason = f"{found[0] / MARKER} is damaged" if found else "no complete checkpoint there"
        raise ConfigError(
            f"train.init_from={init_from}: {reason}; give a folder of `megatron-recipe convert from-hf`, a run folder "
            "or one of its checkpoints/step_* folders"
        )
    return max(whole, key=_step)


def _step(folder: Path) -> tuple[int, str]:
    """Sorts checkpoints by their step; of one step, weights alone are smaller to read."""
    return int(json.loads((folder / MARKER).read_text(encoding="utf-8"))["step"]), folder.name


def _problems(folder: Path, marker: dict[str, Any], config: Config, facts: list[DatasetFacts]) -> Iterator[str]:
    others = differences(marker, config.model, vocabulary(config.model, facts), MAY_DIFFER)
    if others:
        yield (f"a model of another architecture: {'; '.join(others)}; take the model section of {_recipe_of(folder)}")
    tokenizer = marker.get("tokenizer_sha256")  # older checkpoints don't say
    if tokenizer and tokenizer != facts[0].tokenizer_sha256 and not _gives_same_ids(folder, facts[0].folder):
        yield (
            f"trained with another tokenizer than that of {facts[0].folder}, whose ids would mean other words to it; "
            "prepare the dataset with the model's tokenizer (`megatron-recipe data prepare --tokenizer`)"
        )


def _recipe_of(folder: Path) -> str:
    """The file that a user copies the right model section from."""
    for name in ("recipe.yaml", "config.yaml"):
        if (path := folder.parent.parent / name).is_file():
            return str(path)
    return f"{folder / MARKER}"


def _gives_same_ids(folder: Path, dataset: Path) -> bool:
    """Whether the tokenizer beside the weights gives the ids of the dataset's examples, in whatever file it came."""
    file = folder.parent.parent / TOKENIZER
    if not file.is_file():
        return False
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    # as in datasets: text that spells a special token stays text
    tokenizer.encode_special_tokens = True
    golden = read_manifest(dataset)["tokenizer"]["golden"]
    return all(tokenizer.encode(one["text"], add_special_tokens=False).ids == one["ids"] for one in golden)
