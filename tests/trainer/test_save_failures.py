"""A save that failed is said with the reason that the system gave to the process that writes, and with a remedy."""

import errno
import os
from pathlib import Path

import pytest
from commands import recipe_command, run
from flows import events
from small_runs import arguments

from megatron_recipe.save_failures import ANY_REMEDY, REMEDIES, WriterReason, problem_of

NO_FILE_ABOVE_KILOBYTES = 300
"""The index and the records fit, a checkpoint does not."""


def test_files_that_may_not_be_so_large_are_named_as_the_reason(dataset, tmp_path):
    folder = tmp_path / "run"
    stop = ("train.stop_at_step=6", "checkpoint.save_every_steps=3")
    limited = ["bash", "-c", f'ulimit -f {NO_FILE_ABOVE_KILOBYTES}; exec "$@"', "bash"]
    training = recipe_command(["train", "gpt_tiny_cpu", *arguments(dataset, folder, *stop)])
    done = run([*limited, *training], tmp_path)
    assert done.returncode == 2, done.stderr
    for failed in events(folder, "checkpoint_failed"):
        expected = f"could not be written (OSError: [Errno {errno.EFBIG}] File too large); {REMEDIES[errno.EFBIG]}"
        assert failed["reason"] == f"{folder}/checkpoints/step_{failed['step']:08d}: {expected}"
    said, _, message = done.stderr.rpartition("error: ")
    assert "the last checkpoint could not be saved" in message and "File too large" in message
    assert "Traceback" not in done.stderr and "nothing is saved yet" in done.stdout + said


@pytest.mark.parametrize(
    ("reason", "needed", "expected"),
    [
        (f"OSError: [Errno {errno.EIO}] Input/output error", 1, REMEDIES[errno.EIO]),
        (f"[Errno {errno.EDQUOT}] Disk quota exceeded", 1, "Disk quota exceeded"),
        (f"[Errno {errno.EFBIG}] File too large", 1 << 60, "File too large"),
        (f"[Errno {errno.ENOSPC}] No space left on device", 1, "the disk is full"),
        ("", 1 << 60, "the disk is full"),
        ("", 1, f"RuntimeError: Worker failure); {ANY_REMEDY}"),
    ],
)
def test_the_reason_decides_and_the_free_space_where_there_is_none(tmp_path: Path, reason, needed, expected):
    error = RuntimeError("CheckpointException ranks:dict_keys([0])\nTraceback\nRuntimeError: Worker failure\n")
    assert expected in problem_of(tmp_path / "step_00000010", needed, reason, error)


def test_a_forked_process_leaves_its_first_reason():
    reason = WriterReason()
    reason.clear()
    child = os.fork()
    if child == 0:
        try:
            with reason.noted():
                try:
                    raise OSError(errno.EIO, "é" * 2000)
                finally:
                    raise RuntimeError("unexpected pos 704 vs 598")  # as torch does where a file ends too early
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert reason.read().startswith(f"OSError: [Errno {errno.EIO}] é")
    reason.clear()
    assert reason.read() == ""
