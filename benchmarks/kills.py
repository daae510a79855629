"""Kill the pipeline with SIGKILL at random moments and restart it: the dataset must have an undisturbed run's bytes.

    python -m benchmarks.kills FILE.jsonl [--kills 30] [--recipe documents] [--seed 1]

Each run is killed after a random share of the time that the undisturbed run took; one that ends before is a whole run,
and the next starts from nothing. Prints a line of ``name=value`` pairs; exit code 1 if a byte differs.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from megatron_recipe.files import sha256_file


def main() -> int:
    """Kill, restart, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--recipe", default="documents")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("work/kills"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    started = time.monotonic()
    start(arguments, "whole").wait()
    whole_seconds = time.monotonic() - started
    expected = sums(arguments.folder / "whole" / "dataset")
    generator = random.Random(arguments.seed)
    kills = whole_runs = 0
    equal = True
    while kills < arguments.kills:
        process = start(arguments, "killed")
        try:
            # short lives at first, so that also the early stages are hit more than once
            process.wait(timeout=generator.uniform(0.05, 0.6) * whole_seconds)
            equal &= sums(arguments.folder / "killed" / "dataset") == expected
            shutil.rmtree(arguments.folder / "killed")
            whole_runs += 1
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL) if generator.random() < 0.5 else process.kill()
            process.wait()
            kills += 1
    start(arguments, "killed").wait()
    equal &= sums(arguments.folder / "killed" / "dataset") == expected
    print(f"kills={kills} whole_runs={whole_runs + 1} files={len(expected)} datasets_equal={str(equal).lower()}")
    return 0 if equal else 1


def start(arguments: argparse.Namespace, name: str) -> subprocess.Popen[bytes]:
    """Start the command in a process group of its own; half of the kills take the group, half only the parent."""
    folder = arguments.folder / name
    command = [sys.executable, "-m", "megatron_recipe.cli", "data", "prepare", arguments.corpus]
    options = ["--recipe", arguments.recipe, "--out", folder / "dataset", "--work", folder / "work"]
    return subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL, start_new_session=True)


def sums(dataset: Path) -> dict[str, str]:
    """SHA-256 of every file of a dataset but the manifest, which holds the time it was written."""
    files = sorted(path for path in dataset.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(dataset)): sha256_file(path) for path in files}


if __name__ == "__main__":
    sys.exit(main())
