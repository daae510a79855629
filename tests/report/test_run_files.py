"""Reading a run: what is missing, damaged, superseded or moved."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_run import EXPORT, Project, write, write_lines

from megatron_recipe.errors import DataError
from megatron_recipe.report.run_files import latest_pass, read_run


def test_a_complete_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    run = read_run(Path("runs/demo"))
    assert run.train == project.train
    assert run.validation == project.validation
    assert run.perplexity == project.perplexity
    assert [dataset.manifest for dataset in run.datasets] == [project.manifest]
    assert [export["source"] for export in run.exports] == [project.export["source"]]
    assert run.contents()["metrics"] == "400 training and 8 validation records"


def test_datasets_and_exports_are_found_from_any_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    run = read_run(project.run)
    assert run.datasets[0].manifest == project.manifest
    assert len(run.exports) == 1


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        read_run(tmp_path / "nothing")


def test_a_folder_that_is_no_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no run: it has no config\.yaml"):
        read_run(tmp_path)


def test_a_run_before_its_first_step(project: Project) -> None:
    for name in ("metrics.jsonl", "events.jsonl", "environment.json"):
        (project.run / name).unlink()
    shutil.rmtree(project.run / "eval")
    run = read_run(project.run)
    assert (run.train, run.events, run.environment, run.perplexity, run.samples) == ([], [], {}, None, None)
    assert run.contents()["perplexity"] == "not run"


def test_a_line_cut_off_at_the_end_is_left_out(project: Project) -> None:
    with (project.run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 401, "lo')
    assert read_run(project.run).train == project.train


@pytest.mark.parametrize("damage", ['{"kind": "train", "st', "[1, 2]", '{"kind": "train"}', "\ufffd"])
def test_a_damaged_line_elsewhere_is_named(project: Project, damage: str) -> None:
    path = project.run / "metrics.jsonl"
    lines = path.read_text().splitlines()
    lines[6] = damage
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 7: damaged"):
        read_run(project.run)


def test_bytes_that_are_no_utf8_are_named(project: Project) -> None:
    path = project.run / "events.jsonl"
    path.write_bytes(b'{"event": "start"}\n{"event": "\xff\xfe"}\n')
    with pytest.raises(DataError, match=r"events\.jsonl, line 2"):
        read_run(project.run)


@pytest.mark.parametrize("content", ["{", "[]", '{"by_source": []}'])
def test_a_damaged_json_file_is_named(project: Project, content: str) -> None:
    (project.run / "eval" / "perplexity.json").write_text(content)
    with pytest.raises(DataError, match=r"perplexity\.json"):
        read_run(project.run)


@pytest.mark.parametrize("content", ["a: [", "just words", "\x00"])
def test_a_damaged_config_is_named(project: Project, content: str) -> None:
    (project.run / "config.yaml").write_text(content)
    with pytest.raises(DataError, match=r"config\.yaml"):
        read_run(project.run)


def test_a_dataset_that_is_gone(project: Project) -> None:
    shutil.rmtree(project.root / "datasets")
    assert [(d.path, d.manifest) for d in read_run(project.run).datasets] == [("datasets/demo", None)]


def test_exports_of_other_runs_are_not_taken(project: Project) -> None:
    for name, source in (("other", "runs/other/checkpoints/step_1"), ("near", "demo/runs/x/checkpoints/step_1")):
        write(project.root / "exports" / name / "export.json", {**EXPORT, "source": source})
    newer = {**EXPORT, "created": "2026-11-25T00:00:00+00:00", "source": "/moved/runs/demo/checkpoints/step_00000400"}
    write(project.root / "exports" / "again" / "export.json", newer)
    assert [export["folder"].name for export in read_run(project.run).exports] == ["demo", "again"]


def record(kind: str, step: int, loss: float) -> dict[str, Any]:
    return {"kind": kind, "step": step, "loss": loss}


def test_after_a_rollback_the_later_pass_counts(project: Project) -> None:
    first = [record("train", step, 1.0) for step in (1, 2, 3, 4)]
    first += [record("validation", 2, 1.0), record("validation", 4, 1.0)]
    first.sort(key=lambda r: r["step"])
    again = [record("train", 3, 2.0)]
    assert [(r["kind"], r["step"], r["loss"]) for r in latest_pass([*first, *again])] == [
        ("train", 1, 1.0),
        ("train", 2, 1.0),
        ("validation", 2, 1.0),
        ("train", 3, 2.0),
    ]
    write_lines(project.run / "metrics.jsonl", [*first, *again])
    run = read_run(project.run)
    assert [r["loss"] for r in run.train] == [1.0, 1.0, 2.0]
    assert len(run.logged) == len(first) + 1


def test_a_step_taken_again_keeps_the_other_kind_of_record_at_that_step() -> None:
    first = [record("train", 1, 1.0), record("train", 2, 1.0), record("validation", 2, 1.0), record("train", 3, 1.0)]
    latest = latest_pass([*first, record("train", 2, 2.0)])
    assert {(r["kind"], r["step"]): r["loss"] for r in latest} == {
        ("train", 1): 1.0,
        ("train", 2): 2.0,
        ("validation", 2): 1.0,
    }


def test_infinity_and_nan_are_read(project: Project) -> None:
    line = {**project.train[-1], "step": 401, "loss": float("nan"), "grad_norm": float("inf")}
    with (project.run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    assert str(read_run(project.run).train[-1]["loss"]) == "nan"
