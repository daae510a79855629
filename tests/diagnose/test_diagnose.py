"""`diagnose`: every check finds what it is for and is silent on healthy runs; what it prints; how long it takes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_metrics import EVERY, STEPS, WORDS, healthy, write
from spoiled_metrics import SPOILED

from megatron_recipe.diagnose import diagnose_command
from megatron_recipe.diagnose.criteria import CRITERIA, Result, judge
from megatron_recipe.diagnose.reading import ENDS, WHOLE, latest, read_facts
from megatron_recipe.diagnose.schedule import planned_rate
from megatron_recipe.diagnose.signals import Signals
from megatron_recipe.errors import ConfigError, DataError

BOTH = pytest.mark.parametrize("lang", ["en", "zh"])
LATER = 7 * 24 * 3600.0


def results(folder: Path, later: float = LATER) -> list[Result]:
    return judge(Signals(read_facts(folder, now=time.time() + later)))


def ill(found: list[Result]) -> list[str]:
    return [one.criterion.name for one in found if one.finding.state in ("wrong", "attention")]


@pytest.mark.parametrize("seed", range(10))
def test_a_healthy_run_has_nothing(tmp_path: Path, seed: int) -> None:
    found = results(write(healthy(seed), tmp_path))
    assert ill(found) == []
    measured = {one.criterion.name for one in found if one.finding.state == "ok"}
    assert len(measured) > len(CRITERIA) - 4


@pytest.mark.parametrize("steps", [10, 60, 200, 1_000])
def test_a_healthy_run_that_goes_on_has_nothing(tmp_path: Path, steps: int) -> None:
    made = healthy(3, steps)
    del made.events[-1]
    assert ill(results(write(made, tmp_path), later=1)) == []


def test_every_check_has_a_run_that_it_finds() -> None:
    assert sorted(SPOILED) == sorted(criterion.name for criterion in CRITERIA)


@pytest.mark.parametrize("name", SPOILED)
@pytest.mark.parametrize("seed", range(2))
def test_what_was_spoiled_is_named_first(tmp_path: Path, name: str, seed: int) -> None:
    made = healthy(seed)
    SPOILED[name](made)
    found = results(write(made, tmp_path))
    assert ill(found)[0] == name
    assert found[0].finding.evidence


def test_a_run_on_a_cpu_has_no_checks_of_gpus(tmp_path: Path) -> None:
    made = healthy()
    made.environment["device"] = "cpu"
    for record in made.train:
        for name in [name for name in record if name.startswith(("gpu_", "mfu", "memory_", "forward_"))]:
            del record[name]
    states = {one.criterion.name: one.finding.state for one in results(write(made, tmp_path))}
    gpu = ("low_mfu", "gpu_idle", "gpu_memory", "throttled", "stragglers", "slowed_down")
    assert {states[name] for name in gpu} == {"not measured"}
    assert "wrong" not in states.values()


def test_a_run_of_an_older_trainer_is_judged_by_what_it_has(tmp_path: Path) -> None:
    made = healthy()
    kept = ("kind", "step", "samples", "tokens", "loss", "learning_rate", "grad_norm", "step_seconds")
    made.train = [{name: record[name] for name in kept} for record in made.train]
    found = results(write(made, tmp_path))
    assert ill(found) == []
    assert [one.finding.state for one in found if one.criterion.name == "update_too_large"] == ["not measured"]


def test_low_mfu_names_its_reason(tmp_path: Path) -> None:
    made = healthy()
    SPOILED["data_wait"](made)
    made.config["memory"]["recompute"] = "full"
    low = next(one for one in results(write(made, tmp_path)) if one.criterion.name == "low_mfu")
    assert low.finding.notes == ("input", "recompute")


def test_a_spike_that_was_rolled_back_asks_for_a_look_alone(tmp_path: Path) -> None:
    made = healthy()
    made.events.insert(1, {"event": "spike", "step": 900, "quantity": "loss", "action": "rollback"})
    found = results(write(made, tmp_path))
    assert [(one.criterion.name, one.finding.state) for one in found[:1]] == [("data_stretch", "attention")]


def test_a_checkpoint_that_came_late_asks_for_a_look(tmp_path: Path) -> None:
    made = healthy()
    made.events[:] = [event for event in made.events if event.get("step") not in (500, 1_000)]
    found = results(write(made, tmp_path))
    assert [(one.criterion.name, one.finding.state) for one in found[:1]] == [("checkpoint_overdue", "attention")]


def test_a_validation_is_no_silence(tmp_path: Path) -> None:
    made = healthy()
    del made.events[-1]
    for record in made.train:
        record["seconds"] = record["step"] * 0.9 + (600 if record["step"] > 1_000 else 0)
    folder = write(made, tmp_path)
    assert ill(results(folder, later=900)) == []
    assert ill(results(folder, later=1_500)) == ["run_silent"]


def test_a_loss_that_hardly_falls_with_small_steps_is_a_low_rate(tmp_path: Path) -> None:
    made = healthy()
    SPOILED["loss_does_not_fall"](made)
    made.spoil(0, update_ratio=8e-4)
    assert ill(results(write(made, tmp_path)))[:2] == ["update_too_small", "loss_does_not_fall"]


def test_the_latest_pass_counts() -> None:
    passes = [("train", 10), ("validation", 10), ("train", 20), ("train", 30), ("train", 20), ("train", 20)]
    records = [{"kind": kind, "step": step, "place": place} for place, (kind, step) in enumerate(passes)]
    assert [record["place"] for record in latest(records)] == [0, 1, 5]


def test_the_datasets_of_a_run_are_found_from_elsewhere(tmp_path: Path) -> None:
    folder = write(healthy(), tmp_path)
    deeper = tmp_path / "incidents/lr-x10/incident"
    deeper.parent.mkdir(parents=True)
    folder.rename(deeper)
    assert Signals(read_facts(deeper)).vocabulary == WORDS


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    folder = write(healthy(), tmp_path)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert read_facts(folder).train[-1]["step"] == STEPS


def test_a_run_of_100_000_steps_is_read_in_part(tmp_path: Path) -> None:
    made = healthy()
    folder = write(made, tmp_path)
    steps = range(EVERY, 100_001, EVERY)
    lines = [json.dumps({**made.train[step % len(made.train)], "step": step}) for step in steps]
    lines.insert(5_000, json.dumps({"kind": "validation", "step": 50_000, "loss": 3.0}))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    facts = read_facts(folder)
    assert facts.lines == 10_001
    assert facts.read <= WHOLE + 1
    assert [record["step"] for record in facts.train[:ENDS]] == list(steps)[:ENDS]
    assert [record["step"] for record in facts.train[-ENDS:]] == list(steps)[-ENDS:]
    assert [record["step"] for record in facts.validation] == [50_000]


@pytest.mark.parametrize(
    ("schedule", "samples", "rate"),
    [
        ({"decay": "cosine"}, 10 * 4, 0.5),
        ({"decay": "cosine"}, 20 * 4, 1.0),
        ({"decay": "cosine"}, 60 * 4, 0.55),
        ({"decay": "cosine"}, 100 * 4, 0.1),
        ({"decay": "linear"}, 80 * 4, 0.325),
        ({"decay": "constant"}, 99 * 4, 1.0),
        ({"decay": "wsd"}, 80 * 4, 1.0),
        ({"decay": "wsd"}, 90 * 4, 0.55),
        ({"decay": "wsd", "wsd_decay_shape": "minus_sqrt"}, 85 * 4, 0.55),
    ],
)
def test_the_schedule_is_the_trainers(schedule: dict, samples: int, rate: float) -> None:
    base = {"peak_learning_rate": 1.0, "min_learning_rate": 0.1, "warmup_fraction": 0.2}
    config = {"schedule": {**base, **schedule}, "batch": {"global_batch_size_samples": 4}, "train": {"steps": 100}}
    assert planned_rate(config, samples) == pytest.approx(rate)


def test_a_rate_that_a_clock_drives_is_not_judged() -> None:
    config = {"schedule": {"peak_learning_rate": 1.0}, "batch": {"global_batch_size_samples": 4}}
    config |= {"train": {"steps": 100}, "budget": {"amount": 40.0, "unit": "hours"}}
    assert planned_rate(config, 40) is None


# --- the command ---


@BOTH
def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str) -> None:
    made = healthy()
    SPOILED["update_too_large"](made)
    assert diagnose_command(write(made, tmp_path), lang, as_json=False) == 1
    said = capsys.readouterr().out
    title = {"en": "1. Learning rate too high [wrong]", "zh": "1. 学习率太高 [错误]"}[lang]
    assert title in said
    assert "update_ratio 0.4" in said
    assert {"en": "not measured", "zh": "未测量"}[lang] in said
    assert "{" not in said


@BOTH
def test_a_healthy_run_is_exit_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str) -> None:
    assert diagnose_command(write(healthy(), tmp_path), lang, as_json=False) == 0
    assert {"en": "healthy", "zh": "健康"}[lang] in capsys.readouterr().out


def test_json_holds_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = healthy()
    SPOILED["not_a_number"](made)
    assert diagnose_command(write(made, tmp_path), "en", as_json=True) == 1
    said = json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert (said["first"], said["healthy"]) == ("not_a_number", False)
    assert said["checks"][0]["remedies"]
    assert len(said["checks"]) == len(CRITERIA)


def test_what_asks_for_a_look_wakes_nobody(tmp_path: Path) -> None:
    made = healthy()
    SPOILED["data_repeats"](made)
    assert diagnose_command(write(made, tmp_path), "en", as_json=False) == 0


def test_mistakes_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown language"):
        diagnose_command(tmp_path, "fr", as_json=False)
    with pytest.raises(DataError, match="no such run folder"):
        diagnose_command(tmp_path / "none", "en", as_json=False)
    with pytest.raises(DataError, match="is no run"):
        diagnose_command(tmp_path, "en", as_json=False)


def test_the_command_needs_no_torch(tmp_path: Path) -> None:
    folder = write(healthy(), tmp_path)
    code = (
        "import sys; from megatron_recipe.cli import app; app(standalone_mode=False);"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'megatron.core'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "diagnose", str(folder)], capture_output=True, text=True, env={**os.environ}
    )
    assert "healthy" in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"
