"""What this machine has and lacks for the recipe, and the fix for each lack. Run: megatron-recipe doctor [--json]

Each check is one function that returns one Check. A check that raises is itself a failure, and one that does not
answer in time a warning, so that a broken package, disk or network does not hide the others.
"""

import contextlib
import importlib
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict

from megatron_recipe.doctor import gpu, host, network, software
from megatron_recipe.doctor.check import Check

CHECK_SECONDS = 5.0

CHECKS: tuple[Callable[[], Check], ...] = (
    *software.SOFTWARE_CHECKS,
    gpu.check_device,
    gpu.check_gpu_count,
    gpu.check_gpu_errors,
    gpu.check_gpu_heat,
    gpu.check_gpu_is_free,
    gpu.check_persistence,
    gpu.check_gpu_links,
    host.check_cores,
    host.check_memory,
    host.check_swap,
    host.check_shared_memory,
    host.check_open_files,
    host.check_locked_memory,
    host.check_disk,
    host.check_write_speed,
    host.check_temporary_folder,
    host.check_time_zone,
    network.check_hub,
    network.check_wandb,
    network.check_messages,
    network.check_clock,
)


def run_doctor(checks: tuple[Callable[[], Check], ...] = CHECKS, seconds_each: float = CHECK_SECONDS) -> list[Check]:
    """All checks, in order, each within `seconds_each`. torch is imported before, however long a cold disk takes."""
    with contextlib.suppress(Exception):  # check_torch says why
        importlib.import_module("torch")
    return [run_check(check, seconds_each) for check in checks]


def run_check(check: Callable[[], Check], seconds: float = CHECK_SECONDS) -> Check:
    """One check; whatever it does, a Check comes back within `seconds`."""
    name = check.__name__.removeprefix("check_").replace("_", " ")
    results: list[Check] = []

    def look() -> None:
        try:
            results.append(check())
        except Exception as error:
            found = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            results.append(Check(name, "fail", found, "make setup, or mend what it names"))

    # Not waited for when it hangs: a dead network disk answers no signal either.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    fix = "look at what it asks: a network disk, a name server or a driver that hangs would stop a run too"
    return results[0] if results else Check(name, "warn", f"no answer within {seconds:g} s", fix)


def print_checks(results: list[Check], json_output: bool) -> int:
    """Print the checks to standard output (a table, plain lines, or JSON); the exit code is 1 if any failed."""
    if json_output:
        print(json.dumps([asdict(check) for check in results], ensure_ascii=False, indent=1))
    elif sys.stdout.isatty():
        _print_table(results)
    else:
        for check in results:
            print(f"{check.status:4}  {check.name}: {check.found}" + (f"  → {check.fix}" if check.fix else ""))
    return int(any(check.status == "fail" for check in results))


def _print_table(results: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "fix"):
        table.add_column(heading, overflow="fold")
    for check in results:
        # Text, not markup: what a machine answers may hold brackets.
        table.add_row(Text(check.status, style=colours[check.status]), *map(Text, (check.name, check.found, check.fix)))
    Console().print(table)
