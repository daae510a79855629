"""Measurements that share a process, with a small program in the process's place."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.child import ROOT
from benchmarks.shared_process import Command, Row, SharedProcess

ONE_LINE = (
    "import sys, json, time; name = sys.argv[2]; "
    "open(sys.argv[1], 'a').write(json.dumps({'variant': name, 'value': 1}) + '\\n'); "
)


LEFT_OUT = "left out: 3 before it failed alike"


def running(code: str) -> Command:
    """A process that runs `code`; it finds the file and the names in sys.argv."""
    return lambda lines, names: [sys.executable, "-c", code, str(lines), *names]


def shared(out: Path, seconds: float = 60.0, each: float = 20.0) -> SharedProcess:
    return SharedProcess(out, seconds, each, str)


def by_name(rows: list[Row]) -> dict[str, str | int]:
    """What became of each."""
    return {row["variant"]: row.get("error", "fine") for row in rows}


@pytest.mark.parametrize(
    "code, reasons",
    [
        (
            ONE_LINE + "sys.exit(9 if name == 'a' else 0)",
            {"a": "fine", "b": "its process ended with code 9", "c": "fine"},
        ),
        (ONE_LINE + "sys.exit(0)", {"a": "fine", "b": "fine", "c": "fine"}),
        (ONE_LINE.replace("'value'", "'error'") + "sys.exit(1)", {"a": 1, "b": 1, "c": 1}),
        ("import sys; sys.exit(4)", dict.fromkeys("abc", "its process ended with code 4")),
    ],
)
def test_a_process_that_ends_early_costs_the_one_that_it_was_at(tmp_path, code, reasons):
    process = shared(tmp_path / "rows.json")
    assert by_name(process.measure(["a", "b", "c"], running(code))) == reasons
    assert json.loads((tmp_path / "rows.json").read_text()) == process.rows
    assert by_name(process.measure(["d"], running(code))) == {"d": reasons["a"]}  # those before stay
    assert [row["variant"] for row in process.rows] == ["a", "b", "c", "d"]


def test_a_fault_that_is_not_the_rows_own_ends_the_attempts(tmp_path):
    process = shared(tmp_path / "rows.json")
    rows = by_name(process.measure(list("abcde"), running("import sys; sys.exit(4)")))
    assert rows == {**dict.fromkeys("abc", "its process ended with code 4"), **dict.fromkeys("de", LEFT_OUT)}
    assert by_name(process.measure(["f"], running(ONE_LINE))) == {"f": "fine"}


def test_faults_of_single_rows_do_not(tmp_path):
    code = "import sys; sys.exit(5 if sys.argv[2] in 'bd' else 4)"
    rows = by_name(shared(tmp_path / "rows.json").measure(list("abcde"), running(code)))
    assert LEFT_OUT not in rows.values()


def test_one_that_takes_too_long_is_ended_and_the_next_goes_on(tmp_path):
    code = "import time, sys; name = sys.argv[2]; time.sleep(60 if name == 'slow' else 0); " + ONE_LINE
    rows = by_name(shared(tmp_path / "rows.json", each=2.0).measure(["slow", "quick"], running(code)))
    assert rows["slow"].startswith("not done after") and rows["quick"] == "fine"


def test_after_the_time_for_all_none_is_begun(tmp_path):
    forever = running("import time; time.sleep(60)")
    rows = by_name(shared(tmp_path / "rows.json", seconds=2.0).measure(["a", "b"], forever))
    assert rows["a"].startswith("not done after") and rows["b"] == "not begun after 2 s"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_process_ends_with_the_one_that_started_it(tmp_path, number):
    """A job over its time is ended so; what lived on would keep the card."""
    sleeper = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        "import sys; from pathlib import Path; from benchmarks.shared_process import SharedProcess; "
        f"SharedProcess(Path({str(tmp_path / 'rows.json')!r}), 60.0, 60.0, str)"
        f".measure(['a'], lambda lines, names: [sys.executable, '-c', {sleeper!r}])"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    pid = awaited(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
    starter.send_signal(number)
    starter.wait(10)
    assert awaited(lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie")


def awaited(condition: Callable[[], Any]) -> Any:
    """Its value as soon as it holds."""
    deadline = time.monotonic() + 15
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value
