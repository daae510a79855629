"""A place that cannot be written to or is none is one message, before the work where that is possible."""

import os
import stat
from pathlib import Path

import pytest
from small_disk import fill, small_disk

from eval.prompts import read_prompts
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.demo import demo_command
from megatron_recipe.errors import ConfigError, DataError, MachineError
from megatron_recipe.files import atomic_file, atomic_folder, held_alone
from megatron_recipe.lab.asked import Asked
from megatron_recipe.lab.options import comparison_of
from megatron_recipe.sync_store import open_store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 100)
    return path


def test_below_a_file_nothing_is_written(file: Path):
    with (
        pytest.raises(MachineError, match=r"x\.json: cannot be written \(.*\); name a place"),
        atomic_file(file / "x.json"),
    ):
        pass
    with pytest.raises(MachineError, match="cannot be written"), atomic_folder(file / "x"):
        pass
    with pytest.raises(MachineError, match="cannot be written"), held_alone(file / ".lock", "busy"):
        pass


def test_a_lock_on_a_full_disk_is_one_message(tmp_path: Path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        fill(disk)
        with (
            pytest.raises(MachineError, match=r"run: the disk is full \(0 MB free"),
            held_alone(disk / "run/.lock", "x"),
        ):
            pass


def test_a_folder_is_no_file_to_write(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(MachineError, match="folder: cannot be written"), atomic_file(tmp_path / "folder") as out:
        out.write("x")


def test_what_the_block_itself_cannot_read_is_its_own_error(tmp_path: Path, file: Path):
    with pytest.raises(NotADirectoryError), atomic_file(tmp_path / "out"):
        (file / "other").read_text()


def test_a_file_is_no_dataset(file: Path):
    with pytest.raises(DataError, match="not a dataset"):
        read_dataset_facts(file)


def test_a_message_does_not_hold_the_file(file: Path):
    with pytest.raises(DataError) as caught:
        read_prompts(file)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("place", ["me@gpu.example.com", "backup", "me@host/path"])
def test_a_host_without_a_path_is_no_folder_of_this_machine(place):
    with pytest.raises(ConfigError, match=f"write {place}:path for another host"):
        open_store(place)


def test_an_unknown_language_is_said_before_the_work():
    with pytest.raises(ConfigError, match="--lang=fr"):
        demo_command((), "demo", 4096, "fr", (), dry_run=True)


def test_what_settings_differ_in_is_not_set_for_all():
    with pytest.raises(ConfigError, match="the settings of learning_rate differ in that"):
        comparison_of(Asked("learning_rate", overrides=("schedule.peak_learning_rate=1e-4",)))


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with atomic_file(tmp_path / "pipe") as file:
        file.write("page")
    assert os.read(reader, 10) == b"page" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    os.close(reader)
