"""Kills and Ctrl-C at any moment: the next run goes on, and the dataset has the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_recipe import changed, contents

from data_prep.pipeline import prepare
from data_prep.recipe import DataRecipe
from data_prep.verify import verify

SCRIPT = """
import sys
from pathlib import Path
from data_prep.pipeline import prepare
from data_prep.recipe import load_recipe
if __name__ == "__main__":
    corpus, out, work = map(Path, sys.argv[1:])
    values = {"sources": (corpus,), "out": out, "work": work, "tokenizer.vocab_size": 700, "executor.workers": 2}
    prepare(load_recipe("documents", values))
"""


@pytest.fixture
def start(tmp_path):
    """Start the pipeline in a process group of its own, and end the group afterwards."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT, encoding="utf-8")
    started = []

    def run(recipe: DataRecipe) -> subprocess.Popen:
        command = [sys.executable, str(script), str(recipe.sources[0].path), str(recipe.out), str(recipe.work)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_killed_again_and_again_the_dataset_is_the_same(recipe, results, tmp_path, start):
    killed = changed(recipe, out=tmp_path / "out", work=tmp_path / "work")
    for seconds in (0.5, 0.8, 1.0, 1.2, 1.4, 1.6):
        process = start(killed)
        time.sleep(seconds)
        process.kill()
        process.communicate()
        assert not killed.out.exists() or verify(killed.out)
    process = start(killed)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert contents(killed.out) == contents(recipe.out)


def test_ctrl_c_in_the_whole_group_ends_quietly_and_the_next_run_goes_on(recipe, results, tmp_path, start):
    stopped = changed(recipe, out=tmp_path / "out", work=tmp_path / "work")
    process = start(stopped)
    deadline = time.monotonic() + 60
    while not (stopped.work / ".1_collect.partial" / "run").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.4)  # workers are starting or reading
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.count("Traceback") <= 2, errors  # that of this script, which does not catch it; none of workers
    assert not stopped.out.exists()
    assert prepare(stopped)[-1].documents_out == 150
    assert contents(stopped.out) == contents(recipe.out)
