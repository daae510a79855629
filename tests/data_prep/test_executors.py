"""Slurm and Ray give the local executor's bytes, raise a task's own error, and leave no job behind.

CI has no Slurm: there the commands sbatch, squeue and scancel are small scripts that run the array in the background.
Where a cluster answers, the same tests run on it (benchmarks/one_node_slurm.sh starts one of one node).
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_recipe import changed, contents, make_recipe, write_corpus

from data_prep.pipeline import collect, prepare
from megatron_recipe.errors import DataError, MachineError

SBATCH = """#!/bin/bash
# the last argument is the script; its array is 0-N
script=$(mktemp); cp "${@: -1}" "$script"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
id=$$
setsid bash -c "for i in \\$(seq 0 $last); do SLURM_ARRAY_TASK_ID=\\$i SLURM_NODELIST=here bash $script & done; wait" \\
    >"$FAKE_SLURM/log.$id" 2>&1 &
echo $! >"$FAKE_SLURM/pid.$id"
echo "Submitted batch job $id"
"""
SQUEUE = """#!/bin/bash
pid=$(cat "$FAKE_SLURM/pid.$3") && kill -0 "$pid" 2>/dev/null && echo "$3"
exit 0
"""
COMMANDS = {
    "sbatch": SBATCH,
    "squeue": SQUEUE,
    "scancel": '#!/bin/bash\nkill -KILL -- -$(cat "$FAKE_SLURM/pid.$1")\n',
    "srun": '#!/bin/bash\nwhile [[ $1 == -* ]]; do [[ $1 == -n ]] && shift; shift; done\nexec "$@"\n',
    "scontrol": "#!/bin/bash\necho here\n",
}


def slurm_answers() -> bool:
    return shutil.which("sinfo") is not None and subprocess.run(["sinfo", "-h"], capture_output=True).returncode == 0


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster that answers, or commands that behave like one."""
    monkeypatch.setattr("data_prep.executors.slurm.POLL_SECONDS", 0.2)
    if slurm_answers():
        return
    folder = tmp_path / "commands"
    folder.mkdir()
    for name, content in COMMANDS.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))


def test_slurm_gives_the_same_bytes(recipe, results, tmp_path, slurm):
    there = changed(recipe, out=tmp_path / "out", work=tmp_path / "work", executor__kind="slurm")
    prepare(there)
    assert contents(there.out) == contents(recipe.out)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_gives_the_same_bytes(recipe, results, tmp_path):
    there = changed(recipe, out=tmp_path / "out", work=tmp_path / "work", executor__kind="ray")
    prepare(there)
    assert contents(there.out) == contents(recipe.out)


def test_an_error_of_a_slurm_task_is_raised_where_it_is_waited_for(tmp_path, slurm):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n', encoding="utf-8")
    recipe = make_recipe(corpus, tmp_path, **{"executor.kind": "slurm"})
    with pytest.raises(DataError, match=r"bad.jsonl:2: not JSON"):
        collect(recipe)
    (corpus / "bad.jsonl").unlink()
    assert collect(recipe).documents_in == 164


def test_a_task_that_slurm_ends_is_said_to_have_been_ended(tmp_path, slurm, monkeypatch):
    if slurm_answers():
        pytest.skip("this needs commands that fail")
    (Path(os.environ["FAKE_SLURM"]) / "srun").write_text("#!/bin/bash\nexit 137\n")
    monkeypatch.setattr("data_prep.executors.slurm.SHARED_FOLDER_SECONDS", 0.0)
    recipe = make_recipe(write_corpus(tmp_path / "corpus"), tmp_path, **{"executor.kind": "slurm"})
    with pytest.raises(MachineError, match=r"Slurm ended 3 of 3 tasks .*executor\.memory_per_cpu_gb"):
        collect(recipe)


def test_without_slurm_or_ray_the_error_says_what_to_do(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="there is no sbatch on this machine"):
        collect(make_recipe(corpus, tmp_path, **{"executor.kind": "slurm"}))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="Ray is not installed; pip install"):
        collect(make_recipe(corpus, tmp_path, **{"executor.kind": "ray"}))


SCRIPT = """
import sys
from data_prep.pipeline import collect
from data_prep.recipe import DataRecipe
if __name__ == "__main__":
    collect(DataRecipe.model_validate_json(sys.argv[1]))
"""


def start(recipe, earlier=None):
    """Start collecting, and return the process and its job once that is not the `earlier` one."""
    command = [sys.executable, "-c", SCRIPT, recipe.model_dump_json()]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    job_file = recipe.work / ".1_collect.partial" / "run" / "job.json"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if job_file.exists() and (job := read_job(job_file)) != earlier:
            return process, job
        time.sleep(0.02)
    raise AssertionError(process.communicate())


def read_job(path):
    return str(json.loads(path.read_text())["job"])


def test_ctrl_c_cancels_the_job_and_a_kill_leaves_it_to_the_next_run(tmp_path, slurm):
    from data_prep.executors.slurm import in_queue

    recipe = make_recipe(write_corpus(tmp_path / "corpus"), tmp_path, **{"executor.kind": "slurm"})
    process, job = start(recipe)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while in_queue(job) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not in_queue(job)
    process, job = start(recipe, earlier=job)
    process.kill()
    process.communicate()
    result = collect(recipe)
    assert result.documents_in == 164
    assert read_job(recipe.work / "1_collect" / "run" / "job.json") == job, "waited for the job in the queue"
