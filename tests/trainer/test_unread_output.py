"""Training goes on where nobody reads what it says: a pipe whose reader has gone, a full disk, a closed stream."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import ENVIRONMENT, SECONDS, recipe_command, torchrun_command, warm_python
from small_runs import arguments, records

from megatron_recipe import console

NOISE = """
import sys, warnings
from megatron_recipe import console
console.outlive_reader()
with console.progress("work", 2, "steps") as advance:
    advance()
print("result " * 10_000)
warnings.warn("of a library")
console.say("said")
sys.exit(3)
"""


@contextmanager
def nobody() -> Iterator[int]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def full_disk() -> Iterator[int]:
    """A file for which there is no room."""
    writer = os.open("/dev/full", os.O_WRONLY)
    yield writer
    os.close(writer)


def exit_code(command: Sequence[str], cwd: Path, output: int) -> int:
    return subprocess.run(
        command, cwd=cwd, env={**ENVIRONMENT, "PYTHON_EXEC": command[0]}, stdout=output, stderr=output, timeout=SECONDS
    ).returncode


@pytest.mark.parametrize("place", [nobody, full_disk])
def test_whatever_is_printed_the_exit_code_stays(place, tmp_path):
    with place() as output:
        assert exit_code([sys.executable, "-c", NOISE], tmp_path, output) == 3


def test_streams_that_were_closed_before_the_start_are_none_to_fail_on(tmp_path):
    command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c", NOISE]
    assert exit_code(command, tmp_path, subprocess.DEVNULL) == 3


def test_what_can_be_written_again_is_written(tmp_path, monkeypatch):
    """A disk that was full has room again; a descriptor that is not for writing plays it."""
    said = tmp_path / "said"
    with said.open("w", encoding="ascii", errors="backslashreplace") as file, open_null() as null:
        monkeypatch.setattr(sys, "stdout", file)
        monkeypatch.setattr(sys, "stderr", file)
        file.write("before\n")
        console.outlive_reader()
        console.say("first ä")
        kept = os.dup(file.fileno())
        os.dup2(null, file.fileno())
        console.say("lost")
        os.dup2(kept, file.fileno())
        os.close(kept)
        console.say("second")
    assert said.read_text(encoding="ascii") == "before\nfirst \\xe4\nsecond\n"


@contextmanager
def open_null() -> Iterator[int]:
    """A descriptor that cannot be written to."""
    reader = os.open(os.devnull, os.O_RDONLY)
    yield reader
    os.close(reader)


def test_streams_of_a_test_or_a_notebook_stay_as_they_are(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO()))
    error = sys.stderr
    console.outlive_reader()
    assert sys.stdout is stream and sys.stderr is error


@pytest.mark.parametrize("place", [nobody, full_disk])
def test_a_run_comes_to_its_end(dataset, tmp_path, place):
    command = recipe_command(["train", "gpt_tiny_cpu", *arguments(dataset, tmp_path / "run", "train.stop_at_step=2")])
    with place() as output:
        assert exit_code([str(warm_python()), *command[1:]], tmp_path, output) == 0
    assert [record["step"] for record in records(tmp_path / "run", "train")] == [1, 2]
    assert (tmp_path / "run/checkpoints/step_00000002").is_dir()


def test_ranks_come_to_their_end(dataset, tmp_path):
    command = torchrun_command(2, arguments(dataset, tmp_path / "run", "train.stop_at_step=2"))
    with nobody() as output:
        assert exit_code([str(warm_python()), *command[1:]], tmp_path, output) == 0
    assert (tmp_path / "run/checkpoints/step_00000002").is_dir()
