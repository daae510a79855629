"""`doctor --checklist`: one row for each thing to settle before a start, in English and Chinese."""

import json
import shutil
from pathlib import Path
from string import Formatter

import pytest
from commands import ROOT
from fake_gpus import H100
from typer.testing import CliRunner

from megatron_recipe.cli import app
from megatron_recipe.doctor import checklist, gpu
from megatron_recipe.doctor.check import Check
from megatron_recipe.doctor.checklist_words import CHINESE, ENGLISH
from megatron_recipe.doctor.gpu import Gpu
from megatron_recipe.errors import ConfigError


@pytest.fixture(autouse=True)
def a_healthy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor's own checks have tests of their own, and take seconds."""
    monkeypatch.setattr("megatron_recipe.doctor.run_doctor", lambda checks: [Check("Python", "ok", "3.12")])
    for name in (
        "TMUX",
        "STY",
        "SLURM_JOB_ID",
        "MEGATRON_RECIPE_WEBHOOK",
        "PET_NPROC_PER_NODE",
        "NPROC_PER_NODE",
        "LOCAL_WORLD_SIZE",
        "CUDA_VISIBLE_DEVICES",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def rented(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (checklist, gpu):
        monkeypatch.setattr(module, "installed_gpus", lambda: [H100, H100])


def rows(dataset: Path, *overrides: str, run_dir: Path | None = None, lang: str = "en") -> dict[str, Check]:
    sets = (f"data.datasets={dataset}", *overrides)
    return {check.name: check for check in checklist.checklist_of("gpt_tiny_cpu", None, sets, run_dir, lang)}


def test_a_good_start_has_no_failure(dataset: Path, tmp_path: Path) -> None:
    found = rows(dataset, run_dir=tmp_path / "run")
    assert {check.status for check in found.values()} == {"ok"}
    assert "a new run" in found["run folder"].found
    assert "500 pieces" in found["tokenizer"].found


def test_both_languages_have_the_same_rows_keys_and_placeholders(dataset: Path, tmp_path: Path) -> None:
    english, chinese = (rows(dataset, run_dir=tmp_path, lang=lang) for lang in ("en", "zh"))
    assert [check.status for check in english.values()] == [check.status for check in chinese.values()]
    assert "分词器" in chinese and "tokenizer" not in chinese
    assert ENGLISH.keys() == CHINESE.keys()
    for key, text in ENGLISH.items():
        places = [{name for _, name, _, _ in Formatter().parse(one) if name} for one in (text, CHINESE[key])]
        assert places[0] == places[1], key


def test_a_damaged_dataset_is_a_failure(dataset: Path, tmp_path: Path) -> None:
    name = f"dataset {tmp_path / 'copy'}"
    shutil.copytree(dataset, tmp_path / "copy")
    with (tmp_path / "copy/train.bin").open("ab") as file:
        file.write(b"x")
    assert "train.bin: has " in rows(tmp_path / "copy")[name].found

    shutil.rmtree(tmp_path / "copy")
    shutil.copytree(dataset, tmp_path / "copy")
    index = bytearray((tmp_path / "copy/validation.idx").read_bytes())
    index[-1] ^= 1
    (tmp_path / "copy/validation.idx").write_bytes(index)
    damaged = rows(tmp_path / "copy")[name]
    assert damaged.status == "fail" and "another checksum" in damaged.found and "data verify" in damaged.fix

    shutil.copy(dataset / "validation.idx", tmp_path / "copy/validation.idx")
    (tmp_path / "copy/tokenizer/tokenizer.model").write_bytes(b"another")
    assert rows(tmp_path / "copy")["tokenizer"].status == "fail"


def test_no_dataset_is_a_row_and_not_an_end(tmp_path: Path) -> None:
    found = rows(tmp_path / "nothing")
    assert found[f"dataset {tmp_path / 'nothing'}"].status == found["recipe"].status == "fail"
    assert "disk space" in found


def test_what_costs_money_is_asked_for_on_a_rented_machine(dataset: Path, tmp_path: Path, rented: None) -> None:
    found = rows(dataset, run_dir=tmp_path)
    for topic in ("price", "budget", "at the end", "messages", "processes"):
        assert found[topic].status == "warn" and found[topic].fix, topic
    settled = rows(dataset, "budget.price_per_hour=5", "budget.amount=3000", "schedule.decay=wsd", "budget.at_end=stop")
    assert {settled[topic].status for topic in ("price", "budget", "at the end")} == {"ok"}
    assert settled["budget"].found == "3000 cny"


def test_every_gpu_has_a_process(dataset: Path, rented: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_NPROC_PER_NODE", "gpu")
    assert rows(dataset)["processes"].status == "ok"


def test_a_gpu_that_is_hidden_wants_no_process(dataset: Path, rented: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert rows(dataset)["processes"].status == "ok"


@pytest.mark.parametrize(
    ("driver", "status", "words"),
    [
        ("580.95.05", "ok", "CUDA 12 (ngc-cuda12, slim-cuda12), 13 (ngc, slim) run"),
        ("550.54", "ok", "CUDA 12 (ngc-cuda12, slim-cuda12) run"),
        ("470.1", "fail", "none of our images"),
    ],
)
def test_the_driver_says_which_images_fit(
    driver: str, status: str, words: str, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checklist, "installed_gpus", lambda: [Gpu("NVIDIA H100", driver)])
    row = rows(dataset)["driver and image"]
    assert row.status == status and words in row.found


def test_the_volume_is_the_mount_that_holds_the_folder(tmp_path: Path) -> None:
    (tmp_path / "volume/run").mkdir(parents=True)
    mounts = tmp_path / "mounts"
    mounts.write_text(f"overlay / overlay rw 0 0\nnfs:/x {tmp_path / 'volume'} nfs4 rw 0 0\n", encoding="utf-8")
    assert checklist.mount_of(tmp_path / "volume/run", mounts) == (str(tmp_path / "volume"), "nfs4")
    assert checklist.mount_of(tmp_path, mounts) == ("/", "overlay")


def test_a_container_disk_is_warned_of(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checklist, "mount_of", lambda path: ("/", "overlay"))
    row = rows(dataset)["volume"]
    assert row.status == "warn" and "/workspace" in row.fix


def test_saves_wandb_session_and_messages(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows(dataset, "checkpoint.save_every_steps=0")["checkpoints"].status == "warn"
    assert rows(dataset, "checkpoint.save_every_minutes=20")["checkpoints"].found == "every 20 minutes"
    monkeypatch.setenv("HOME", "/nowhere")  # no ~/.netrc
    assert rows(dataset, "logging.wandb=online")["W&B"].status == "fail"
    monkeypatch.setenv("WANDB_API_KEY", "planted-value")
    online = rows(dataset, "logging.wandb=online")["W&B"]
    assert online.status == "ok" and "planted-value" not in online.found
    monkeypatch.setenv("TMUX", "/tmp/tmux")
    assert rows(dataset)["session"].found.startswith("tmux")
    monkeypatch.setenv("MEGATRON_RECIPE_WEBHOOK", "https://hooks.example/secret")
    told = rows(dataset)["messages"]
    assert told.status == "ok" and "secret" not in told.found


def test_it_takes_a_recipe_or_a_config_and_a_known_language(dataset: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe or --config FILE.*gpt_1b"):
        checklist.checklist_of(None, None, (), None, "en")
    with pytest.raises(ConfigError, match="--lang=fr"):
        rows(dataset, lang="fr")


def test_the_checklist_takes_budget_and_price_as_train_does(dataset: Path, tmp_path: Path) -> None:
    sets = ["--set", f"data.datasets={dataset}", "--run-dir", str(tmp_path / "x")]
    options = ["--budget", "3000cny", "--price", "5/h", *sets]
    done = CliRunner().invoke(app, ["doctor", "--checklist", "gpt_tiny_cpu", *options])
    assert "budget: 3000 cny" in done.output, done.exception
    assert "price: 5 cny an hour" in done.output
    assert isinstance(CliRunner().invoke(app, ["doctor", "--budget", "9h"]).exception, ConfigError)


def test_the_variants_are_those_that_can_be_built() -> None:
    images = json.loads((ROOT / "launch/images.json").read_text(encoding="utf-8"))["variants"]
    named = {name: cuda for cuda, names in checklist.IMAGES.items() for name in names.split(", ")}
    assert named == {name: image["cuda"].partition(".")[0] for name, image in images.items()}
