"""The result file of benchmarks: what an earlier run left in it, and whether that is of the same weights."""

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.local_data import LocalData
from eval.models import Evaluated
from eval.suites import Benchmark
from megatron_recipe.console import say
from megatron_recipe.errors import DataError, in_short
from megatron_recipe.files import is_no_place

FILES = ("*.safetensors", "*.bin", "*.index.json", "config.json", "generation_config.json", "tokenizer*.json")
"""Of a model; other files of its folder may be results."""


def results_of(model: Evaluated, out: Path) -> dict[str, Any]:
    """What `out` holds of these weights; those of others are moved aside, so that one file is of one model.

    Raises DataError for a file that holds something else.
    """
    result = read_results(out)
    if not result or result.get("weights", weights_of(model)) == weights_of(model):  # an old file does not say
        return result
    written = time.strftime("%Y%m%d-%H%M%S", time.localtime(out.stat().st_mtime))
    aside = out.with_name(f"{out.stem}-{written}.json")
    out.rename(aside)
    say(f"{out} held scores of other weights ({result.get('model')}); they are in {aside} now")
    return {}


def fingerprint(model: Evaluated, benchmark: Benchmark, data: LocalData, limit: int | None) -> str:
    """Changes with the model's files, the questions' files and how they are run."""
    files = [file for split in data.splits for file in data.files(split)]
    return _hash([asdict(benchmark), limit, _stats([*_model_files(model), *files])])


def weights_of(model: Evaluated) -> str:
    """Changes with the model's files."""
    return _hash(_stats(_model_files(model)))


def _model_files(model: Evaluated) -> list[Path]:
    return sorted({path for pattern in FILES for path in model.folder.glob(pattern)})


def _stats(files: list[Path]) -> list[tuple[str, int, int]]:
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:16]


def read_results(out: Path) -> dict[str, Any]:
    """What an earlier run left; nothing where there is none. Raises DataError for a file that holds something else."""
    if not out.is_file() or is_no_place(out):
        return {}
    try:
        content: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        if not isinstance(content["tasks"], dict):
            raise TypeError("tasks is no mapping")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{out}: holds no scores of `eval run` ({in_short(error)}); move it away, or name another file with --out"
        ) from error
    return content
