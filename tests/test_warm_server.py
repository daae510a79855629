"""The stand-in for Python that the tests start runs with behaves as Python does."""

import os
import signal
import subprocess
import sys
import time

import pytest
from commands import ENVIRONMENT, run, run_warm, warm_python

BOTH = (run, run_warm)
"""Python itself, and its stand-in."""
SAYS_ALL = """
import os, sys
print(__name__, sys.argv, os.getcwd(), os.environ["OMP_NUM_THREADS"], sys.path[0])
print(sys.stdin.read(), file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize("code", [0, 3])
def test_output_files_folder_and_exit_code_are_pythons(tmp_path, code):
    file = tmp_path / "says.py"
    file.write_text(SAYS_ALL)
    real, warm = (one([sys.executable, str(file), str(code)], tmp_path) for one in BOTH)
    assert (real.returncode, real.stdout, real.stderr) == (warm.returncode, warm.stdout, warm.stderr)
    assert real.returncode == code and str(tmp_path) in real.stdout


def test_a_module_is_the_main_program(tmp_path):
    (tmp_path / "says.py").write_text(SAYS_ALL)
    real, warm = (one([sys.executable, "-m", "says", "0"], tmp_path) for one in BOTH)
    assert real.stdout == warm.stdout and "__main__" in real.stdout


def test_an_error_ends_with_a_traceback(tmp_path):
    (tmp_path / "fails.py").write_text("raise ValueError('planted')")
    for one in BOTH:
        done = one([sys.executable, "fails.py"], tmp_path)
        assert done.returncode == 1 and done.stderr.endswith("ValueError: planted\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_reach_the_program_and_its_end_is_told(tmp_path, number):
    (tmp_path / "waits.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    ends = []
    for python in (sys.executable, str(warm_python())):
        with subprocess.Popen(
            [python, "waits.py"], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout
            program = int(process.stdout.readline())
            process.send_signal(number)
            ends.append(process.wait())
        deadline = time.monotonic() + 30
        while is_there(program) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_there(program)
    assert ends == [-number, -number]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_libraries_are_there_and_each_program_has_a_random_state_of_its_own(tmp_path):
    (tmp_path / "draws.py").write_text(
        "import sys\nassert {'torch', 'megatron.core'} <= sys.modules.keys()\n"
        "assert not any(name.startswith('megatron_recipe') for name in sys.modules)\n"
        "import random, numpy\nprint(random.random(), numpy.random.random())"
    )
    first, second = (run_warm([sys.executable, "draws.py"], tmp_path) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr
    assert not set(first.stdout.split()) & set(second.stdout.split())
