"""What is asked of a rented GPU is looked at before it is paid for."""

import sys
from pathlib import Path

import pytest

from benchmarks import on_gpu


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["on_gpu", "--out", "out", *arguments])
    code = on_gpu.main()
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nowhere"), "nowhere"),
        (("--data", "DATA", "--mix", "en"), "--mix en: write it as NAME=FOLDER"),
        (("--data", "DATA", "--small", "nothing"), "nothing"),
        (("--data", "DATA", "--questions", "missing"), "no such folder; `megatron-recipe eval download`"),
        (("--data", "DATA", "--only", "scalin"), "--only scalin: not one of scaling, train-1b, train-300m, "),
    ],
)
def test_wrong_input_is_one_message(dataset: Path, monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = said(monkeypatch, capsys, *(str(dataset) if word == "DATA" else word for word in arguments))
    assert code == 2 and message in error and "Traceback" not in error


def test_jobs_read_what_was_given_wherever_they_run(dataset: Path, monkeypatch, capsys, tmp_path):
    (tmp_path / "data").symlink_to(dataset)
    monkeypatch.chdir(tmp_path)
    mixes = ("--mix", "en=data", "--mix", "zh=data")
    code, out, _ = said(monkeypatch, capsys, "--data", "data", "--small", "data", *mixes, "--dry-run")
    jobs = {line.split(" ")[0]: line for line in out.splitlines()}
    assert code == 0 and {"scaling", "numerics", "export", "compare-mix", "reference-3"} <= set(jobs)
    _, out_of_two, _ = said(monkeypatch, capsys, "--data", "data", "--only", "reference-1", "layouts", "--dry-run")
    assert [line.split(" ")[0] for line in out_of_two.splitlines()] == ["reference-1", "layouts"]
    assert f"--data en={tmp_path / 'data'} --data zh={tmp_path / 'data'}" in jobs["compare-mix"]
    assert " data " not in out and "=data " not in out  # no path that depends on the folder
    _, out, _ = said(monkeypatch, capsys, "--data", "data", "--dry-run")
    assert not any(line.startswith(("export", "compare-mix")) for line in out.splitlines())
