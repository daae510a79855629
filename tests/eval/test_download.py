"""`megatron-recipe eval download`: which files of a repository are taken, and the branch of converted ones."""

import pytest
import typer
from hub_server import FakeHub
from typer.testing import CliRunner

from data_prep.decontaminate.evaluation_sets import find_sets as read_sets
from eval.download import CONVERTED, SETS, download
from megatron_recipe.errors import ConfigError, DataError

LINE = b'{"question": "Why?"}\n'
app = typer.Typer()
app.command()(download)


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def hub():
    with FakeHub() as fake:
        fake.repos["Rowan/hellaswag"] = {
            "README.md": b"#",
            "data/train-00000-of-00001.jsonl": LINE,
            "data/validation-00000-of-00001.jsonl": LINE * 2,
        }
        fake.repos["allenai/ai2_arc"] = {
            f"{name}/{split}-00000-of-00001.jsonl": LINE
            for name in ("ARC-Easy", "ARC-Challenge")
            for split in ("train", "validation", "test")
        }
        fake.repos["EleutherAI/lambada_openai"] = {
            f"data/lambada_test_{name}.jsonl": LINE for name in ("de", "en", "fr")
        }
        fake.repos["Muennighoff/xwinograd"] = {f"test/{name}.jsonl": LINE for name in ("en", "zh")}
        yield fake


def taken(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jsonl"))


def test_splits_and_configurations(hub, tmp_path):
    names = ("hellaswag", "arc_easy", "arc_challenge", "lambada", "xwinograd_zh")
    result = run(*names, "--out", tmp_path, "--mirror", hub.address)
    assert result.exit_code == 0
    assert taken(tmp_path) == [
        "arc_challenge/ARC-Challenge/test-00000-of-00001.jsonl",
        "arc_challenge/ARC-Challenge/validation-00000-of-00001.jsonl",
        "arc_easy/ARC-Easy/test-00000-of-00001.jsonl",
        "arc_easy/ARC-Easy/validation-00000-of-00001.jsonl",
        "hellaswag/data/validation-00000-of-00001.jsonl",
        "lambada/data/lambada_test_en.jsonl",
        "xwinograd_zh/test/zh.jsonl",
    ]
    # the decontamination reads the folder, and not the record in it
    assert len(read_sets(tmp_path / "hellaswag")) == 1


def test_a_set_without_readable_files_comes_from_the_converted_branch(hub, tmp_path, monkeypatch):
    hub.repos["haonan-li/cmmlu"] = {"cmmlu_v1_0_1.zip": b"zip"}
    with pytest.raises(DataError, match="nor a converted copy"):
        run("cmmlu", "--out", tmp_path, "--mirror", hub.address)
    hub.branches[CONVERTED] = {
        "haonan-li/cmmlu": {"agronomy/test/0000.parquet": b"x", "agronomy/train/0000.parquet": b"y"}
    }
    assert run("cmmlu", "--out", tmp_path, "--mirror", hub.address).exit_code == 0
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["0000.parquet"]
    assert (tmp_path / "cmmlu/agronomy/test/0000.parquet").read_bytes() == b"x"


def test_a_second_run_fetches_nothing(hub, tmp_path):
    run("hellaswag", "--out", tmp_path, "--mirror", hub.address)
    hub.sent.clear()
    run("hellaswag", "--out", tmp_path, "--mirror", hub.address)
    assert hub.sent == {}


def test_a_dry_run_writes_nothing(hub, tmp_path):
    result = run("hellaswag", "--out", tmp_path / "sets", "--mirror", hub.address, "--dry-run")
    assert "data/validation-00000-of-00001.jsonl" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_names(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown set 'helaswag'; known are .*did you mean hellaswag\?"):
        run("helaswag")
    listed = run().stdout
    assert all(name in listed for name in SETS)
    with pytest.raises(ConfigError, match="evaluation sets come from Hugging Face"):
        run("mmlu", "--mirror", "modelscope")
