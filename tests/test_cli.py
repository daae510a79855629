"""What users get wrong, and what they are told: one message, exit code 2, and nothing that could pass for a result."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from commands import ENVIRONMENT, megatron_recipe, processor_seconds, recipe_command, sets
from small_runs import arguments
from typer.testing import CliRunner

from megatron_recipe.checkpoint import complete_checkpoints
from megatron_recipe.cli import app
from megatron_recipe.errors import MachineError
from megatron_recipe.files import atomic_file, atomic_folder
from megatron_recipe.recipes import recipe_names

USER_ERROR = 2


def refused(*command: object, cwd: Path) -> str:
    """Run a command that must end with one message; returns the message."""
    result = megatron_recipe(*command, cwd=cwd)
    assert result.returncode == USER_ERROR, result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""
    before, found, message = result.stderr.rpartition("error: ")
    assert found and "error" not in before.lower() and "warning" not in result.stderr.lower(), result.stderr
    return message


def test_an_unknown_recipe_lists_the_known(tmp_path):
    message = refused("train", "gpt_2b", cwd=tmp_path)
    assert "unknown recipe 'gpt_2b'" in message and f"known: {', '.join(recipe_names())}" in message
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_key_suggests_the_right_one(tmp_path):
    message = refused("train", "gpt_tiny_cpu", *sets("model.hiden_size=64"), cwd=tmp_path)
    assert "model.hiden_size is not known (did you mean 'hidden_size'?)" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_missing_dataset_is_named_with_the_command_that_makes_one(tmp_path, dry_run):
    message = refused("train", "gpt_tiny_cpu", *dry_run, cwd=tmp_path)
    assert "datasets/demo" in message and "data prepare" in message
    assert list(tmp_path.iterdir()) == []


WRONG_OPTIONS = {
    "--budget 3apples": ["--budget 3apples: write amount and unit, for example 3000cny"],
    "--price free": ["--price free: write what the machine costs an hour, for example 5/h"],
    "--time-limit soon": ["--time-limit soon: write a duration, for example 23h30m"],
    "--skip-samples 9:3": ["--skip-samples 9:3: write it as FIRST:STOP with FIRST below STOP"],
    "--profile 7": ["--profile 7: write it as FIRST:STOP"],
    "--gpu h1000": ["--gpu h1000: unknown card (did you mean 'h100_80'?)", "known: a100_40"],
    "--budget 3000cny": ["budget.amount=3000 cny needs budget.price_per_hour", "--price 5/h"],
}


def test_wrong_options_are_one_message_each_before_torch_is_loaded(dataset, tmp_path):
    """All in one process, which ends by saying what it has loaded; each is what `main` would have ended with."""
    code = (
        "import sys\nfrom megatron_recipe.cli import main\n"
        "train = ['megatron-recipe', 'train', 'gpt_tiny_cpu', '--set', f'data.datasets={sys.argv[1]}']\n"
        "for words in sys.argv[2:]:\n"
        "    for dry_run in ([], ['--dry-run']):\n"
        "        sys.argv = [*train, *words.split(), *dry_run]\n"
        "        try:\n            main()\n"
        "        except SystemExit as end:\n            print(end.code)\n"
        "print({'torch', 'megatron', 'datatrove'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(dataset), *WRONG_OPTIONS],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert found.stdout.split("\n") == [*[str(USER_ERROR)] * 2 * len(WRONG_OPTIONS), "set()", ""], found
    assert "Traceback" not in found.stderr
    messages = found.stderr.splitlines()
    assert len(messages) == 2 * len(WRONG_OPTIONS), found.stderr
    for number, parts in enumerate(WRONG_OPTIONS.values()):
        for message in messages[2 * number : 2 * number + 2]:
            assert message.startswith("error: ") and all(part in message for part in parts), message
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_ends_the_command_with_its_message(tmp_path):
    message = refused("train", "gpt_tiny_cpu", "--time-limit", "soon", cwd=tmp_path)
    assert message.startswith("--time-limit soon: write a duration")
    assert list(tmp_path.iterdir()) == []


def test_no_recipe_at_all(tmp_path):
    assert f"known recipes: {recipe_names()[0]}" in refused("train", cwd=tmp_path)


def prepare(source: Path, *options: object) -> list[object]:
    return ["data", "prepare", source, "--out", "datasets/mine", "--workers", 1, *options]


def test_text_that_is_not_utf_8_is_found_with_its_place(tmp_path):
    source = tmp_path / "latin.txt"
    source.write_bytes("Une phrase en français.\n".encode("latin-1") * 20)
    message = refused(*prepare(source), cwd=tmp_path)
    assert f"{source}: not UTF-8 at byte 18 (0xe7)" in message and "iconv" in message
    assert not (tmp_path / "datasets/mine").exists()


@pytest.mark.parametrize("content", ["", "\n \n\t\n"])
def test_an_empty_corpus(tmp_path, content):
    source = tmp_path / "empty.txt"
    source.write_text(content, encoding="utf-8")
    message = refused(*prepare(source), cwd=tmp_path)
    assert str(source) in message and ("empty" in message or "no document" in message)
    assert not (tmp_path / "datasets/mine").exists()


def write_documents(path: Path, documents: int) -> Path:
    """JSONL of documents of random words, each its own."""
    generator = random.Random(0)
    words = ["".join(generator.choices("etaoinshrdlu", k=generator.randrange(2, 8))) for _ in range(500)]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(documents):
            sentences = (" ".join(generator.choices(words, k=9)).capitalize() + "." for _ in range(12))
            file.write(json.dumps({"text": "\n".join(sentences)}) + "\n")
    return path


def test_a_vocabulary_that_the_text_does_not_support(tmp_path):
    source = write_documents(tmp_path / "few.jsonl", 40)
    message = refused(*prepare(source, "--vocab-size", 50_000), cwd=tmp_path)
    assert "vocab_size=50000 is more than the training text supports: the largest that works is" in message
    assert "--vocab-size" in message
    assert not (tmp_path / "datasets/mine").exists()


def test_a_checkpoint_of_another_architecture(dataset, half_run, tmp_path):
    folder = Path(shutil.copytree(half_run, tmp_path / "run"))
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    metrics = (folder / "metrics.jsonl").read_bytes()
    message = refused("train", "gpt_tiny_cpu", *arguments(dataset, folder, "model.num_layers=2"), cwd=tmp_path)
    assert "step_00000005: a checkpoint of another architecture" in message
    assert "num_layers=4 in the checkpoint, 2 in the recipe" in message and "--run-dir" in message
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before
    assert (folder / "metrics.jsonl").read_bytes() == metrics


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_while_text_is_prepared(small_disk, tmp_path):
    source = write_documents(tmp_path / "many.jsonl", 5000)
    message = refused(*prepare(source, "--work", small_disk / "work"), cwd=tmp_path)
    assert "the disk is full" in message and str(small_disk) in message and "continues" in message
    assert not (tmp_path / "datasets/mine").exists()
    assert list((small_disk / "work").glob("[0-9]*/stage.json")) == []


def test_a_full_disk_while_a_checkpoint_is_written(small_disk, dataset, tmp_path):
    settings = ("train.stop_at_step=1", "train.validation_samples=0")  # else the best loss is saved, and warned of
    message = refused("train", "gpt_tiny_cpu", *arguments(dataset, small_disk / "run", *settings), cwd=tmp_path)
    assert "the disk is full" in message and "step_00000001" in message and "MB needed" in message
    assert complete_checkpoints(small_disk / "run/checkpoints") == []


def test_no_space_left_leaves_the_older_file(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old", encoding="utf-8")
    for number in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(MachineError, match=r"result\.json: the disk is full .* free on"), atomic_file(path) as file:
            file.write("half of the new")
            raise OSError(number, os.strerror(number))
    assert [found.name for found in tmp_path.iterdir()] == ["result.json"]
    assert path.read_text(encoding="utf-8") == "old"


def test_no_space_left_at_fsync_leaves_no_folder(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(MachineError, match="the disk is full"),
        atomic_folder(tmp_path / "export") as folder,
        atomic_file(folder / "config.json") as file,
    ):
        file.write("{}")
    assert list(tmp_path.iterdir()) == []


def test_another_error_of_the_disk_is_not_called_full(tmp_path):
    with pytest.raises(PermissionError), atomic_file(tmp_path / "result.json"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert list(tmp_path.iterdir()) == []


def leaves(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all commands that have no sub-commands."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path
        return
    for name, sub_command in below.items():
        yield from leaves(sub_command, (*path, name))


COMMANDS = list(leaves(typer.main.get_command(app)))


def test_all_parts_of_the_way_have_a_command():
    assert {path[0] for path in COMMANDS} >= {"doctor", "data", "train", "convert", "eval", "report", "demo"}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_how_to_try_it_dry_or_why_one_cannot(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    reasons = ("only reads, so it has no --dry-run", "Changes nothing, so it has no --dry-run")
    assert "--dry-run <bool>" in words or any(reason in words for reason in reasons), words


def test_a_dry_run_of_training_loads_no_torch(dataset, tmp_path):
    code = (
        "import sys\nfrom megatron_recipe.cli import main\n"
        f"sys.argv = ['megatron-recipe', 'train', 'gpt_tiny_cpu', '--dry-run', '--set', 'data.datasets={dataset}']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print({'torch', 'megatron', 'datatrove', 'numpy'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert found.stdout == "set()\n", found
    assert "would train" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_training_takes_under_a_second(dataset, tmp_path):
    command = recipe_command(["train", "gpt_tiny_cpu", "--dry-run", *sets(f"data.datasets={dataset}")])
    assert min(processor_seconds(command, tmp_path) for _ in range(3)) < 1.0
