"""The command line: what it prints, what it refuses, and that asking for help loads nothing heavy."""

import json
import subprocess
import sys

import pytest
from made_texts import make_document
from typer.testing import CliRunner

from data_prep.cli import app
from megatron_recipe.errors import ConfigError, DataError

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "books.jsonl"
    lines = [json.dumps({"text": make_document(seed, "zh" if seed % 2 else "en")}) for seed in range(120)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_prepare_verify_inspect(corpus, tmp_path):
    out = tmp_path / "datasets" / "books"
    result = run("prepare", corpus, "--out", out, "--vocab-size", 700, "--workers", 1)
    assert result.exit_code == 0
    assert (tmp_path / "work" / "books" / "1_collect" / "stage.json").exists()
    assert "120 documents" in run("verify", out).stderr
    shown = run("inspect", out, "--split", "validation", "--count", 1).stdout
    assert "read 120 documents, kept 120" in shown
    assert "── validation document" in shown


def test_a_dry_run_says_what_would_run_and_writes_nothing(corpus, tmp_path):
    result = run("prepare", corpus, "--out", tmp_path / "out" / "x", "--work", tmp_path / "work", "--dry-run")
    assert "read 1 files" in result.stderr
    assert "run   collect" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["books.jsonl"]


def test_sources_are_named_or_installed_and_not_both(corpus):
    for arguments in ([], [corpus, "--installed"]):
        with pytest.raises(ConfigError, match="give files or folders to read"):
            run("prepare", *arguments)


def test_a_missing_source_is_found_by_the_dry_run(tmp_path):
    with pytest.raises(DataError, match="there is no such file or folder"):
        run("prepare", tmp_path / "nowhere", "--dry-run")


def test_help_loads_neither_numpy_nor_datatrove():
    code = "import sys, data_prep.cli; print({'numpy', 'datatrove', 'torch', 'sentencepiece'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
