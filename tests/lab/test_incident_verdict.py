"""What a criterion says of runs: seen in the broken one, not in the healthy one, and when nothing can be said."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from incident_folders import made_case, write_run

from megatron_recipe.diagnose.reading import read_facts
from megatron_recipe.diagnose.signals import Signals
from megatron_recipe.lab.incident import Condition, read_incident
from megatron_recipe.lab.incident_measures import measure
from megatron_recipe.lab.incident_result import result_of, write_incident_result
from megatron_recipe.lab.incident_verdict import judged

BROKEN: dict[str, dict[str, Any]] = {
    "lr-x10": {"update_ratio": lambda step, old: 0.4 if step < 20 else old, "attention_logit_max": 1500.0},
    "no-warm-up": {"update_ratio": lambda step, old: 0.15 if step < 20 else old},
    "batch-size-1": {"loss_jitter": 0.3, "clipped_share": 1.0},
    "no-gradient-clipping": {"grad_norm_max": lambda step, old: 25.0 if step == 120 else old},
    "sgd-instead-of-adamw": {"loss_mean": 7.6, "update_ratio": 0.001, "held_out": 7.6},
    "fp16-without-loss-scaling": {
        "loss_mean": lambda step, old: old if step < 40 else 12.0,
        "zero_grad_share": 0.5,
        "held_out": 12.0,
    },
    "pure-fp16": {"loss": math.nan, "loss_mean": math.nan, "loss_max": math.nan, "held_out": math.nan},
}


@pytest.mark.parametrize("name", BROKEN)
def test_seen_in_the_broken_run_alone(dataset: Path, tmp_path: Path, name: str) -> None:
    case = made_case(name, dataset, tmp_path)
    write_run(case.acts["control"].folder, case, "control")
    write_run(case.acts["incident"].folder, case, "incident", **BROKEN[name])
    healthy = tmp_path / "other"
    write_run(healthy, case, "control", held_out=6.35)
    control = case.acts["control"].folder
    broken = judged(case.incident, case.acts["incident"].folder, control)
    assert broken.seen is True
    assert all(one.evidence for one in broken.conditions)
    assert judged(case.incident, control, control).seen is False
    assert judged(case.incident, healthy, control).seen is False  # another seed's control is no incident either


@pytest.mark.parametrize("name", BROKEN)
def test_not_seen_where_only_the_setting_is_changed(dataset: Path, tmp_path: Path, name: str) -> None:
    """The verdict is of what was measured, and not of what was done."""
    case = made_case(name, dataset, tmp_path)
    for role in ("control", "incident"):
        write_run(case.acts[role].folder, case, role)
    assert judged(case.incident, case.acts["incident"].folder, case.acts["control"].folder).seen is False


def test_a_figure_that_was_not_recorded_says_nothing(dataset: Path, tmp_path: Path) -> None:
    case = made_case("pure-fp16", dataset, tmp_path)
    write_run(case.acts["control"].folder, case, "control", held_out=None)
    broken = BROKEN["pure-fp16"]
    write_run(case.acts["incident"].folder, case, "incident", **broken)
    found = judged(case.incident, case.acts["incident"].folder, case.acts["control"].folder)
    assert [one.holds for one in found.conditions] == [True, None]
    assert found.seen is None


@pytest.mark.parametrize(
    ("condition", "holds", "limit"),
    [
        ({"above": 6.0}, True, "≤ 6"),
        ({"below": 6.0}, False, "≥ 6"),
        ({"above": 1.1, "of": "times the control"}, True, "≤ 6.05 = 1.1 × 5.5"),
        ({"above": 1.0, "of": "more than the control"}, False, "≤ 6.5 = 5.5 + 1"),
    ],
)
def test_limits_of_a_figure(dataset: Path, tmp_path: Path, condition: dict[str, Any], holds: bool, limit: str) -> None:
    asked = Condition(measure="held_out_loss", **condition)
    case = made_case(read_incident("lr-x10").model_copy(update={"criterion": [asked]}), dataset, tmp_path)
    write_run(tmp_path / "healthy", case, "control", held_out=5.5)
    write_run(tmp_path / "broken", case, "incident", held_out=6.3)
    (found,) = judged(case.incident, tmp_path / "broken", tmp_path / "healthy").conditions
    assert (found.holds, found.evidence[0].value, found.evidence[0].limit) == (holds, 6.3, limit)


def test_the_figures_of_a_run(dataset: Path, tmp_path: Path) -> None:
    case = made_case("lr-x10", dataset, tmp_path)
    write_run(tmp_path / "run", case, "control", update_ratio=lambda step, _old: step / 1000)
    signals = Signals(read_facts(tmp_path / "run"))
    windows = {"first": 0.004, "last": 0.2, "highest": 0.2, "lowest": 0.004, "median": 0.102, "late": 0.1875}
    for window, value in windows.items():
        assert measure(f"update_ratio.{window}", signals) == pytest.approx(value, rel=0.02), window
    assert measure("held_out_loss", signals) == 6.3 and measure("failed", signals) == 0
    assert measure("no_such_field.late", signals) is None
    write_run(tmp_path / "lost", case, "control", last="failed")
    lost = Signals(read_facts(tmp_path / "lost"))
    assert measure("held_out_loss", lost) == math.inf and measure("failed", lost) == 1


def test_the_result_is_read_from_the_folders(dataset: Path, tmp_path: Path) -> None:
    case = made_case("lr-x10", dataset, tmp_path)
    assert result_of(case, "command")["verdict"] == "not run"
    write_run(case.acts["control"].folder, case, "control")
    write_run(case.acts["incident"].folder, case, "incident", **BROKEN["lr-x10"])
    write_run(case.acts["remedy"].folder, case, "remedy", held_out=6.8)
    result = write_incident_result(case, "command")
    assert json.loads((case.folder / "incident.json").read_text()) == result
    assert result["verdict"] == "seen"
    assert [result["runs"][role]["seen"] for role in ("control", "incident", "remedy")] == [False, True, False]
    assert result["remedy"]["loss_over_control"] == pytest.approx(6.8 / 6.3)
    assert result["remedy"]["recovered"] is False
    assert result["runs"]["incident"]["settings"]["schedule.peak_learning_rate"] == [4e-3, pytest.approx(4e-2)]
    assert result["runs"]["incident"]["numbers"]["update_ratio.highest"] == 0.4
    assert result["runs"]["incident"]["diagnosis"][0] == "update_too_large"
    assert result["runs"]["control"]["folder"] == "../controls/control"


def test_what_needs_a_gpu_says_so_where_there_is_none(dataset: Path, tmp_path: Path) -> None:
    gpu = read_incident("lr-x10").model_copy(update={"needs": "gpu"})
    case = made_case(gpu, dataset, tmp_path)
    assert write_incident_result(case, "command")["verdict"] == "needs a gpu"
    assert write_incident_result(case, "command", has_gpu=True)["verdict"] == "not run"


def test_a_failed_control_measures_nothing(dataset: Path, tmp_path: Path) -> None:
    case = made_case("lr-x10", dataset, tmp_path)
    write_run(case.acts["control"].folder, case, "control", last="failed")
    write_run(case.acts["incident"].folder, case, "incident", **BROKEN["lr-x10"])
    assert result_of(case, "command")["verdict"] == "not measured"
