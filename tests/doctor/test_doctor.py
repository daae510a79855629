"""The doctor as a whole: every check answers, none hides the others; the printing."""

import json
import subprocess
import sys
import threading
import time

import pytest

from megatron_recipe import doctor
from megatron_recipe.doctor import check as checks
from megatron_recipe.doctor import software
from megatron_recipe.doctor.check import Check


def test_this_machine_passes_or_says_how_to_mend_it() -> None:
    results = doctor.run_doctor()
    assert len(results) == len(doctor.CHECKS)
    assert len({check.name for check in results}) == len(results)
    for check in results:
        assert check.found
        assert bool(check.fix) == (check.status != "ok"), check
    named = {check.name: check for check in results}
    assert named["megatron-core"].status == named["dataset helpers"].status == named["torch"].status == "ok"


def test_a_check_that_raises_is_a_failure_among_the_others() -> None:
    def check_broken_package() -> Check:
        raise ImportError("libcudart.so.13: cannot open shared object file")

    broken, fine = doctor.run_doctor((check_broken_package, software.check_python))
    assert (broken.status, broken.name) == ("fail", "broken package")
    assert "libcudart" in broken.found
    assert fine.status == "ok"


def test_a_check_that_hangs_is_left_behind() -> None:
    let_go = threading.Event()

    def check_dead_disk() -> Check:
        let_go.wait()
        return Check("dead disk", "ok", "")

    began = time.monotonic()
    result = doctor.run_check(check_dead_disk, seconds=0.1)
    let_go.set()
    assert time.monotonic() - began < 2
    assert (result.status, result.found) == ("warn", "no answer within 0.1 s")


def test_a_command_that_hangs_or_fails_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "COMMAND_SECONDS", 0.2)
    assert checks.answer_of("sleep", "60") == ""
    assert checks.answer_of("false") == ""
    assert checks.answer_of("no-such-command") == ""
    assert checks.answer_of("echo", "7") == "7\n"


def test_printing_gives_json_or_lines_and_the_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = [Check("memory", "fail", "1.0 GiB", "rent more")]
    assert doctor.print_checks(failed, json_output=True) == 1
    assert json.loads(capsys.readouterr().out) == [
        {"name": "memory", "status": "fail", "found": "1.0 GiB", "fix": "rent more"}
    ]
    assert doctor.print_checks(failed, json_output=False) == 1
    assert capsys.readouterr().out == "fail  memory: 1.0 GiB  → rent more\n"
    doctor._print_table([Check("memory", "ok", "[/bold] 1.0 GiB")])
    assert "[/bold] 1.0 GiB" in capsys.readouterr().out
    assert doctor.print_checks([Check("memory", "warn", "4 GiB", "rent more")], json_output=False) == 0


def test_importing_it_costs_no_library() -> None:
    code = "import sys, megatron_recipe.doctor; print('torch' in sys.modules, 'psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
