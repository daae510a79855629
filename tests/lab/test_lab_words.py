"""What `lab` prints: the plan before it, the ready comparisons, and mistakes, in both languages."""

from pathlib import Path

import pytest

from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.files import held_alone
from megatron_recipe.lab.asked import Asked
from megatron_recipe.lab.compare_command import compare_command
from megatron_recipe.lab.listing import list_command


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def asked(dataset: Path, out: Path, **options: object) -> Asked:
    return Asked("learning_rate", dataset=str(dataset), out=out, tokens=81_920, gpus=0, jobs=2, **options)  # type: ignore[arg-type]


def test_a_dry_run_shows_what_would_be_run_and_does_nothing(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ("model.sequence_length_tokens=64",)
    out = tmp_path / "out"
    assert compare_command(asked(dataset, out, dry_run=True, price="3/h", overrides=short)) == 0
    printed = capsys.readouterr().out
    assert "Peak learning rate: 9 runs of 81,920 tokens on the CPU, 2 at a time" in printed and str(out) in printed
    assert "peak_learning_rate 0.0003" in printed and "1, 2, 3" in printed and " 80 " in printed
    assert "in all, estimated" in printed and " CNY" in printed
    assert not out.exists()
    assert compare_command(asked(dataset, out, dry_run=True, lang="zh", overrides=short)) == 0
    assert "峰值学习率：9 次训练，每次 81,920 token" in capsys.readouterr().out


def test_the_ready_comparisons_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    list_command("en")
    assert "batch_size" in (english := capsys.readouterr().out) and "64, 256, 512" in english
    list_command("zh")
    assert "学习率预热" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--lang=fr"):
        list_command("fr")


def test_a_comparison_is_run_once_at_a_time(dataset: Path, tmp_path: Path) -> None:
    short = ("model.sequence_length_tokens=64",)
    with held_alone(tmp_path / ".lock", "held"), pytest.raises(DataError, match="runs this comparison"):
        compare_command(asked(dataset, tmp_path, overrides=short))
    with pytest.raises(ConfigError, match="numbered from 0 to 8"):
        compare_command(asked(dataset, tmp_path, overrides=short, only=9))
