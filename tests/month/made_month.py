"""A user's folder at the end of the month, made of chosen numbers, from which the ledger's can be computed."""

import copy
import json
import shutil
import sys
from datetime import date
from pathlib import Path
from typing import Any

from eventful_run import write_eventful_run

from megatron_recipe.month.folder import Folder
from megatron_recipe.month.ledger import Ledger
from megatron_recipe.month.month_file import Month

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from made_comparison import comparison, write_comparison
from made_run import MANIFEST

BEGINS, ENDS = date(2026, 11, 1), date(2026, 11, 30)
MONTH = Month(begins=BEGINS, ends=ENDS)
PERPLEXITY: dict[str, Any] = {
    "splits": {"validation": {"documents": 40, "tokens": 81_920, "bytes": 300_000, "loss": 2.471, "perplexity": 11.834,
                              "bits_per_byte": 0.973, "unigram_loss": 7.204, "loss_interval": [2.44, 2.502]}},
    "by_source": [],
}  # fmt: skip
EXPORT = {
    "step": 12_000,
    "comparison": {"passed": True, "max_abs_difference": 3.2e-05, "tokens": 4096, "top1_agreement": 0.9995},
}
HARNESS = {
    "tasks": {
        "hellaswag": {"score": 0.412, "stderr": 0.0049, "chance": 0.25, "questions": 10_042, "of": 10_042},
        "mmlu_light": {"score": 0.259, "stderr": 0.013, "chance": 0.25, "questions": 1_140, "of": 1_140},
    }
}
TABLE = """comparison of methods
         CPU s  removed  exact found  recall  precision  lowest Jaccard
exact     0.51      100       100.0%  0.5000     1.0000            1.00
minhash   1.06      200       100.0%  0.9850     1.0000            0.90
simhash   4.09      180       100.0%  0.7700     0.9500            0.61
"""
DOCTOR = [
    {"name": "megatron-core", "status": "ok", "found": "0.19.2", "fix": ""},
    {"name": "device", "status": "ok", "found": "NVIDIA H100: 80 GB", "fix": ""},
    {"name": "shared memory", "status": "warn", "found": "64 MB", "fix": "--shm-size=2g"},
]
STUDY = {
    "tokenizers": [
        {"name": name, "loses_text": loses, "flops_per_byte": flops, "bytes_per_token": size, "renyi_efficiency": 0.51,
         "sources": {"en": {"bytes_per_token": size - 0.1}, "zh": {"bytes_per_token": size + 0.1}}}
        for name, loses, flops, size in (
            ("bpe 64,000", False, 2.08e9, 3.52), ("unigram 64,000", False, 2.24e9, 3.41),
            ("wordpiece", True, 1.9e9, 3.9),
        )
    ]
}  # fmt: skip


def incident(name: str, verdict: str = "seen", loss: float | str = 9.31) -> dict[str, Any]:
    """What incident.json holds, as far as the ledger reads it."""
    criterion = [{"evidence": [{"metric": "update_ratio", "value": 0.312, "limit": "> 0.2"}]}]
    quiet: list[dict[str, Any]] = [{"evidence": []}]
    return {
        "name": name,
        "verdict": verdict,
        "incident": {
            "title": {"en": f"Title of {name}", "zh": f"{name} 的标题"},
            "cause": {"en": "Because of this.", "zh": "因为这个。"},
            "remedy": {"text": {"en": "Do that.", "zh": "这样做。"}},
        },
        "remedy": {"loss_over_control": 1.007, "recovered": True},
        "runs": {
            "incident": {"numbers": {"held_out_loss": loss}, "diagnosis": ["update_too_large"], "criterion": criterion},
            "control": {"numbers": {"held_out_loss": 5.42}, "diagnosis": [], "criterion": quiet},
            "remedy": {"numbers": {"held_out_loss": 5.458}, "diagnosis": [], "criterion": quiet},
        },
    }


def write(path: Path, content: Any) -> None:
    """JSON, or text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def manifest() -> dict[str, Any]:
    """A dataset's manifest."""
    made = copy.deepcopy(MANIFEST)
    made["settings"]["deduplicate"] = {"near_threshold": 0.8}
    return made


def write_month(root: Path) -> Path:
    """The folder: a 1B run with accidents, its dataset, evaluations, an incident and a comparison."""
    write_eventful_run(root / "runs/big")
    write(root / "datasets/main/manifest.json", manifest())
    write(root / "runs/big/eval/perplexity.json", PERPLEXITY)
    write(root / "exports/big/export.json", EXPORT)
    write(root / "exports/big/eval/harness.json", HARNESS)
    write(root / "notes/doctor.json", DOCTOR)
    write(root / "notes/duplicates.txt", TABLE)
    write(root / "tokenizers/results.json", STUDY)
    write(root / "incidents/lr-x10/incident.json", incident("lr-x10"))
    content = comparison()
    for setting in content["settings"]:
        for run in setting["runs"]:
            run["state"] = "finished"
    write_comparison(root / "comparisons/rates", content)
    shutil.rmtree(root / "comparisons/rates/runs", ignore_errors=True)
    return root


def ledger_of(root: Path, today: date = BEGINS, **changes: Any) -> Ledger:
    """The ledger of a folder on a day."""
    return Ledger(Folder(root, MONTH.model_copy(update=changes)), today)
