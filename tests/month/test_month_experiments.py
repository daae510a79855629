"""Incidents and comparisons in the ledger: judged or not, seen or not, all six, the summary."""

from pathlib import Path

import pytest
from made_comparison import comparison
from made_month import MONTH, incident, write

from megatron_recipe.lab.incident import incident_names
from megatron_recipe.month.evidence import look
from megatron_recipe.month.folder import Folder
from megatron_recipe.month.strings import evidence_text
from megatron_recipe.month.tasks import all_tasks


def found(root: Path, evidence: str):
    return look(evidence, Folder(root, MONTH))


@pytest.mark.parametrize("verdict", ["seen", "not seen"])
def test_a_verdict_is_evidence_whatever_it_says(tmp_path: Path, verdict: str) -> None:
    write(tmp_path / "incidents/sgd/incident.json", incident("sgd", verdict))
    one = found(tmp_path, "incident:sgd")
    assert (one.values["verdict"], one.values["control"]) == (verdict, 5.42)
    assert ("not seen at this scale" in evidence_text(one, "en")) == (verdict == "not seen")


@pytest.mark.parametrize("verdict", ["not run", "not measured"])
def test_without_a_verdict_there_is_none(tmp_path: Path, verdict: str) -> None:
    write(tmp_path / "incidents/sgd/incident.json", incident("sgd", verdict))
    assert found(tmp_path, "incident:sgd") is None


def test_an_exploded_loss_is_told_as_such(tmp_path: Path) -> None:
    write(tmp_path / "incidents/sgd/incident.json", incident("sgd", loss="inf"))
    assert "loss inf, control 5.420" in evidence_text(found(tmp_path, "incident:sgd"), "en")


def test_six_records_and_a_summary(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"incidents/number-{number}/incident.json", incident(f"number-{number}"))
        write(tmp_path / f"incidents/number-{number}/record.md", "# What I saw\n")
    assert found(tmp_path, "incident_records") is None
    assert found(tmp_path, "incident_summary") is None
    write(tmp_path / "incidents/last/record.md", "# What I saw\n")
    write(tmp_path / "incidents/summary.md", "# All of them\n")
    assert found(tmp_path, "incident_records").values["records"] == 6
    assert found(tmp_path, "incident_summary").values == {"incidents": 5, "seen": 5}


def test_the_plan_asks_for_incidents_that_there_are() -> None:
    asked = {one.partition(":")[2] for task in all_tasks() for one in task.evidence if one.startswith("incident:")}
    assert len(asked) == 6
    assert asked <= set(incident_names())


def test_a_comparison_counts_when_all_its_runs_are_finished(tmp_path: Path) -> None:
    content = comparison()
    content["settings"][0]["runs"][0]["state"] = "failed"
    write(tmp_path / "comparisons/rates/comparison.json", content)
    assert found(tmp_path, "comparison:learning_rate") is None
    content["settings"][0]["runs"][0]["state"] = "finished"
    for setting in content["settings"]:
        for run in setting["runs"]:
            run["state"] = "finished"
    write(tmp_path / "comparisons/rates/comparison.json", content)
    one = found(tmp_path, "comparison:learning_rate")
    assert "5e-4 is better than 1e-4: held-out loss lower by 0.218 ± 0.050" in evidence_text(one, "en")
    assert "5e-4 优于 1e-4" in evidence_text(one, "zh")
