"""Recognisers: each finds its file and figures, none finds what is not there, and a damaged file stops nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from eventful_run import PRICE_PER_HOUR, SKIPPED, SPIKE, STEP_SECONDS, STEPS, TARGET
from made_month import MONTH, manifest, write

from megatron_recipe.month.evidence import look, recognisers
from megatron_recipe.month.folder import Folder
from megatron_recipe.month.strings import EVIDENCE, LEDGER, VALUES, WANTED, evidence_text, wanted_text
from megatron_recipe.month.tasks import all_tasks


def found(root: Path, evidence: str, **changes: Any) -> Any:
    return look(evidence, Folder(root, MONTH.model_copy(update=changes)))


@pytest.mark.parametrize(
    ("evidence", "file", "values"),
    [
        ("doctor", "notes/doctor.json", {"checks": 3, "ok": 2, "warn": 1, "fail": 0, "device": "NVIDIA H100"}),
        ("dataset", "datasets/main/manifest.json", {"read": 11_340, "kept": 7_358, "tokens": 3.912004, "sources": 2}),
        ("duplicates:near", "datasets/main/manifest.json", {"removed": 1_201, "share": 1_201 / 11_340}),
        ("duplicates:exact", "datasets/main/manifest.json", {"removed": 2_104}),
        ("methods", "notes/duplicates.txt", {"exact_recall": 0.5, "simhash_recall": 0.77, "simhash_precision": 0.95}),
        ("tokenizers", "tokenizers/results.json", {"best": "bpe 64,000", "lossy": 1, "worst_gflop": 2.24}),
        ("run_ended:big", "runs/big/metrics.jsonl", {"steps": STEPS, "parameters": 1039.204352}),
        ("first_steps:big", "runs/big/metrics.jsonl", {"steps": 1000, "accidents": 0}),
        ("resumed:big", "runs/big/events.jsonl", {"step": 3_000, "why": "SIGTERM", "after_step": 3_010}),
        ("checkpoints:big", "runs/big/checkpoints/step_00012000/checkpoint.json", {"count": 5, "saves": 11}),
        ("logs:big", "runs/big/metrics.jsonl", {"events": 23, "boards": 0}),
        ("exported:big", "exports/big/export.json", {"difference": 3.2e-05, "agreement": 0.9995}),
        ("perplexity:big", "runs/big/eval/perplexity.json", {"loss": 2.471, "unigram": 7.204, "high": 2.502}),
        ("benchmark:hellaswag", "exports/big/eval/harness.json", {"score": 0.412, "verdict": "above"}),
        ("benchmark:mmlu_light", "exports/big/eval/harness.json", {"verdict": "not_above"}),
        ("gpu_readings", "runs/big/metrics.jsonl", {"memory": 70.4}),
        ("feeding:big", "runs/big/metrics.jsonl", {"verdict": "below", "wanted": 20 * 1039.204352}),
        ("incident:lr-x10", "incidents/lr-x10/incident.json", {"incident": 9.31, "recovered": "recovered"}),
        ("comparison:learning_rate", "comparisons/rates/comparison.json", {"runs": 9, "seeds": 3, "proven": 1}),
    ],
)
def test_evidence_has_its_file_and_figures(
    month_folder: Path, evidence: str, file: str, values: dict[str, Any]
) -> None:
    one = found(month_folder, evidence)
    assert one is not None and one.file == file
    assert {name: one.values[name] for name in values} == pytest.approx(values)
    for lang in EVIDENCE:
        assert "{" not in evidence_text(one, lang)


def test_the_spike_is_told_with_what_was_done(month_folder: Path) -> None:
    one = found(month_folder, "spike:main")
    assert one.kind == "spike_rolled_back"  # and not the larger jump of the gradient at step 2,210
    assert (one.values["step"], one.values["to_step"], one.values["jumps"]) == (SPIKE, TARGET, 2)
    assert one.values["skipped"] == SKIPPED[1] - SKIPPED[0]


def test_the_bill_is_the_time_at_the_recorded_price(month_folder: Path) -> None:
    one = found(month_folder, "bill:main")
    hours = (40 + STEP_SECONDS * STEPS) / 3600
    assert one.values["money"] == pytest.approx(hours * PRICE_PER_HOUR)
    assert one.kind == "bill"


def every_evidence() -> list[str]:
    return sorted({evidence for task in all_tasks() for evidence in task.evidence})


def test_nothing_is_found_in_an_empty_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path, MONTH)
    extra = [f"{name}:main" for name in ("speed", "spike", "feeding", "bill")]
    assert [name for name in [*every_evidence(), *extra] if look(name, folder)] == []
    assert folder.problems == {}


def test_a_damaged_file_is_named_and_no_evidence(month_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(month_folder, tmp_path / "month"))
    (root / "datasets/main/manifest.json").write_text("{")
    (root / "notes/doctor.json").write_bytes(b"\xff\xfe")
    write(root / "exports/big/export.json", {"comparison": {"passed": True}})
    (root / "runs/big/events.jsonl").write_text('{"event": \n{}\n')
    folder = Folder(root, MONTH)
    assert [look(name, folder) for name in ("dataset", "doctor", "exported:big", "resumed:big")] == [None] * 4
    named = {"datasets/main/manifest.json", "notes/doctor.json", "exported:big", "runs/big/events.jsonl"}
    assert set(folder.problems) == named


def test_a_run_counts_by_its_size_unless_in_miniature(month_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(month_folder, tmp_path / "month"))
    path = root / "runs/big/environment.json"
    write(path, json.loads(path.read_text()) | {"parameters": 1_262_720})
    assert found(root, "run_ended:big") is None
    assert found(root, "run_ended:big", scale="miniature").values["parameters"] == 1.26272


def test_a_run_that_goes_on_has_not_ended(month_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(month_folder, tmp_path / "month"))
    path = root / "runs/big/events.jsonl"
    path.write_text("".join(line for line in path.open() if '"end"' not in line))
    assert found(root, "run_ended:big") is None
    assert found(root, "first_steps:big") is not None


def test_two_checkpoints_are_not_three(month_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(month_folder, tmp_path / "month"))
    for marker in sorted((root / "runs/big/checkpoints").glob("*/checkpoint.json"))[2:]:
        marker.unlink()  # as a save leaves it that was killed
    assert found(root, "checkpoints:big") is None


def test_no_duplicates_are_a_result_too(tmp_path: Path) -> None:
    made = manifest()
    made["counts"]["dropped"] = {}
    write(tmp_path / "datasets/main/manifest.json", made)
    assert found(tmp_path, "duplicates:near").values["removed"] == 0


def test_every_kind_has_its_words_in_both_languages() -> None:
    for texts in (EVIDENCE, WANTED, VALUES, LEDGER):
        assert list(texts["en"]) == list(texts["zh"])
    assert set(WANTED["en"]) >= {evidence.partition(":")[0] for evidence in every_evidence()}
    assert {evidence.partition(":")[0] for evidence in every_evidence()} <= set(recognisers())
    for evidence in every_evidence():
        assert wanted_text(evidence, MONTH, "en") and wanted_text(evidence, MONTH, "zh")


def test_the_small_recipe_counts_also_with_a_small_vocabulary(tmp_path: Path) -> None:
    plan = {
        "recipe": "gpt_100m", "parameters": {"total": 78_660_096}, "tokens": 2e9, "gpus": 1, "days": 0.05,
        "hardware": {"name": "h100_80", "card": "H100"}, "memory": {"total": 2e10}, "chinchilla_tokens": 1.6e9,
        "mfu": {"percent": 40.0}, "costs": [],
    }  # fmt: skip
    write(tmp_path / "notes/plan.json", plan)
    assert found(tmp_path, "plan:small").values["recipe"] == "gpt_100m"
    assert "CNY not measured" in evidence_text(found(tmp_path, "plan:small"), "en")
    assert found(tmp_path, "plan:big") is None
