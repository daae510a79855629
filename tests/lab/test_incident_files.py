"""Incident files: what they may say, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from megatron_recipe.errors import ConfigError
from megatron_recipe.lab.incident import incident_names, read_incident
from megatron_recipe.lab.incident_changes import relative, value_of
from megatron_recipe.lab.incident_verdict import require_known_names
from megatron_recipe.lab.listing import list_command
from megatron_recipe.recipes import load_config

THE_SIX = (
    "lr-x10",
    "no-warm-up",
    "batch-size-1",
    "no-gradient-clipping",
    "sgd-instead-of-adamw",
    "fp16-without-loss-scaling",
    "pure-fp16",
)
TEXT = {"en": "text", "zh": "文字"}


def incident(**changed: Any) -> dict[str, Any]:
    return {
        "title": TEXT,
        "change": [{"kind": "settings", "overrides": {"optimizer.beta2": 0.5}}],
        "phenomenon": TEXT,
        "criterion": [{"checks": ["loss_explodes"]}],
        "cause": TEXT,
        "remedy": {"text": TEXT},
        "learned": TEXT,
        "seen_at": TEXT,
        **changed,
    }


def written(folder: Path, **changed: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(incident(**changed), allow_unicode=True), encoding="utf-8")
    return str(path)


def test_the_ready_ones_name_checks_and_figures_that_there_are() -> None:
    assert set(THE_SIX) <= set(incident_names())
    for name in incident_names():
        require_known_names(read_incident(name))


@pytest.mark.parametrize("name", THE_SIX)
def test_a_criterion_is_not_about_the_control_alone(name: str) -> None:
    """Beside itself a control is never worse: such a criterion could not fail there."""
    assert any(one.checks or one.of == "value" for one in read_incident(name).criterion)


def test_a_users_own_has_the_files_name(tmp_path: Path) -> None:
    assert read_incident(written(tmp_path)).name == "mine"


def test_a_folded_line_of_chinese_has_no_blank(tmp_path: Path) -> None:
    folded = {"en": "one two", "zh": "一行\n两行 AdamW 三"}
    assert (
        read_incident(written(tmp_path, cause={**folded, "zh": "一行 两行 AdamW 三"})).cause.zh == "一行两行 AdamW 三"
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cause": {"en": "only"}}, "cause.zh is missing"),
        ({"change": []}, "change"),
        ({"change": [{"kind": "flood"}]}, "flood"),
        (
            {"criterion": [{"checks": ["loss_explodes"], "measure": "failed", "above": 0}]},
            "either checks, or a measure",
        ),
        ({"criterion": [{"measure": "failed"}]}, "either checks, or a measure"),
        ({"criterion": [{"measure": "failed", "above": 0, "below": 1}]}, "either checks, or a measure"),
        ({"colour": "red"}, "colour is not known"),
        ({"name": "../elsewhere"}, "name='../elsewhere'"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_incident(written(tmp_path, **changed))


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown incident 'lr-x11' .*; known: .*lr-x10"):
        read_incident("lr-x11")
    with pytest.raises(ConfigError, match=r"criterion.checks=none_such: `diagnose` has no such check"):
        require_known_names(read_incident(written(tmp_path, criterion=[{"checks": ["none_such"]}])))
    with pytest.raises(ConfigError, match=r"measure=loss.middle: not a figure of a run"):
        require_known_names(read_incident(written(tmp_path, criterion=[{"measure": "loss.middle", "above": 1}])))


def test_values_may_be_relative_to_the_healthy_run() -> None:
    config = load_config("gpt_tiny_cpu")
    assert relative("schedule.peak_learning_rate", "× 10", config) == pytest.approx(4e-2)
    assert relative("batch.global_batch_size_samples", "÷ 3", config) == 5
    assert relative("batch.global_batch_size_samples", "÷ 1000", config) == 1
    assert relative("optimizer.kind", "sgd", config) == "sgd"
    assert value_of(config, "model.none") is None
    with pytest.raises(ConfigError, match=r"optimizer.kind=× 2: the healthy run has 'adamw' there"):
        relative("optimizer.kind", "× 2", config)


def test_the_list_names_incidents(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    list_command("zh")
    said = capsys.readouterr().out
    assert "lab compare NAME" in said and "lab incident NAME" in said
    assert all(name in said for name in incident_names())
    assert "学习率放大 10 倍" in said
