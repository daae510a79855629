"""The whole month in miniature on a CPU: every task that `megatron-recipe today` sets, done as it says, in its order.

    python -m benchmarks.month --out OUT            # on two cores
    python -m benchmarks.month --out OUT --until week1

A program plays the user: it asks the ledger for the task of the day, types the ledger's own commands, and gives its
word where a task asks for one. Recipe gpt_tiny_cpu, text that is installed here from a hub on this machine
(benchmarks/month_hub.py), short runs; SMALLER says what is made smaller. Every command that speaks two languages is
given in both, but for ONCE. After each task the ledger must have found the evidence by itself. Tasks that need a GPU
stay open, and it says so.

At the end it writes the retrospective and the quiz in both languages and compares every figure of the quiz with the
ledger's. The same command goes on where it was; OUT/walk.json holds the seconds of each task. Prints a line for each
task and last `tasks= done= open= questions= figures= seconds=`; exit code 1 where a task that should be done is not,
or a figure of the quiz is not in the ledger.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import date
from functools import cached_property
from pathlib import Path

from benchmarks.month_figures import strange_figures
from benchmarks.month_hub import ROOT, open_hub
from megatron_recipe.files import read_jsonl, write_json
from megatron_recipe.month.folder import Folder
from megatron_recipe.month.ledger import Entry, Ledger
from megatron_recipe.month.month_file import read_month
from megatron_recipe.month.tasks import all_tasks, commands_of

LANGUAGES = ("en", "zh")
SECONDS = 1200.0
STOP_AT_STEP = 40
"""Of the first start of the big run; the resume test goes on from there."""
SHORT_RUN = (
    " --set train.steps=120 --set train.validate_every_steps=40 --set checkpoint.save_every_steps=30"
    " --set checkpoint.keep_last=4"
)
SMALLER = {
    "megatron-recipe demo": " --set train.steps=100 --set train.validate_every_steps=50",
    "--run-dir runs/wandb": " --set logging.wandb=offline",
    "data download": " --mirror {hub}",
    "eval download": " --mirror {hub}",
    "data report": " --sample 300",
    "--out datasets/main": " --recipe documents --vocab-size 4096",
    "--out datasets/en": " --recipe documents",
    "--out datasets/zh": " --recipe documents",
    "--run-dir runs/small --price": SHORT_RUN,
    "--run-dir runs/big --price": SHORT_RUN,
    "eval perplexity": " --max-tokens 20000",
    "eval generate": " --max-new-tokens 24",
    "--task hellaswag": " --limit 40",
    "--task arc_easy": " --limit 40",
    "lab compare": " --tokens 49152 --seeds 1,2 --set train.validation_samples=32",
    "lab compare batch_size": " --tokens 131072",
    "lab incident": " --tokens 102400",
    "lab all": " --tokens 102400",
    "megatron-recipe watch": " --once",
}
"""What is added to commands that hold a text, for a run on two cores; a later option counts."""
OTHERWISE = {
    "--size 32000 --size 64000": "--size 2000 --size 4000 --training-mb 1",
    "tensorboard --logdir": "timeout 25 tensorboard --port 0 --logdir",
    "--runs 1 >": "--runs 1 --documents 400 >",
}
"""What is typed instead."""
FINDINGS = ("doctor", "diagnose", "tensorboard", "lab all")
"""Commands whose exit code speaks of what they found, or that are ended by force."""
NOT_HERE = ("sync runs/wandb",)
"""Commands that need a network."""
ONCE = ("data tokenizers",)
"""Commands that are given in one language: they would train everything again."""
STORY = (
    "(Written by a script that walks the month in miniature, not by a person: the run was stopped by SIGTERM and went "
    "on from its checkpoint with the very next sample.)"
)


class Walk:
    """One walk in one folder."""

    def __init__(self, out: Path, open_until: ExitStack) -> None:
        self.out, self.open_until = out, open_until
        self.log, self.times = out / "walk.log", out / "walk.json"
        path = f"{ROOT / '.venv/bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "CUDA_VISIBLE_DEVICES": "",
            "WANDB_SILENT": "true",
        }

    @property
    def took(self) -> dict[str, float]:
        """Seconds of each task, of earlier starts too."""
        kept: dict[str, float] = json.loads(self.times.read_text()) if self.times.is_file() else {}
        return kept

    @cached_property
    def hub(self) -> str:
        """Address of the hub, which is filled when a command asks for it: reading what is installed takes a while."""
        address: str = self.open_until.enter_context(open_hub()).address
        return address

    def today(self, *arguments: str) -> str:
        """`megatron-recipe today` with options; returns what it printed."""
        command = ["megatron-recipe", "today", *arguments]
        done = subprocess.run(command, cwd=self.out, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def ledger(self) -> Ledger:
        """The ledger as it stands."""
        return Ledger(Folder(self.out, read_month(self.out, date.today())), date.today())

    def entry(self, name: str) -> Entry:
        """One task of it."""
        return next(entry for entry in self.ledger().entries if entry.task.id == name)

    def shell(self, command: str) -> None:
        """Type one command. Raises SystemExit where it fails."""
        for text, instead in OTHERWISE.items():
            command = command.replace(text, instead)
        added = "".join(more for text, more in SMALLER.items() if text in command)
        if "{hub}" in added:
            added = added.replace("{hub}", self.hub)
        before, redirect, after = command.partition(" > ")
        command = f"{before}{added}{redirect}{after}"
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {command}\n")
            log.flush()
            done = subprocess.run(
                ["bash", "-c", command], cwd=self.out, env=self.environment, stdout=log, stderr=log, timeout=SECONDS
            )
        if done.returncode and not any(name in command for name in FINDINGS):
            tail = "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-15:])
            raise SystemExit(f"exit code {done.returncode}: {command}\n{tail}")

    def interrupted(self, command: str) -> None:
        """Start a run, and send it SIGTERM some steps later, as the task's `timeout` would."""
        command = command.partition("6h ")[2] + SHORT_RUN
        metrics = self.out / "runs/big/metrics.jsonl"
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {command}    # SIGTERM after step {STOP_AT_STEP}\n")
            log.flush()
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.out, env=self.environment, stdout=log, stderr=log
            )
            deadline = time.monotonic() + SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                if metrics.is_file() and any(one["step"] >= STOP_AT_STEP for one in read_jsonl(metrics)):
                    process.send_signal(signal.SIGTERM)
                    break
                time.sleep(0.2)
            if process.wait(SECONDS):
                raise SystemExit(f"exit code {process.returncode}: {command}; see {self.log}")

    def do(self, name: str) -> None:
        """One task: its commands in both languages, and the user's word."""
        task = self.entry(name).task
        month = self.ledger().month
        if name == "story":
            self.tell()
        for lang in LANGUAGES:
            typed = commands_of(task, month, lang)
            if lang != LANGUAGES[0]:
                typed = [one for one in typed if one not in commands_of(task, month, LANGUAGES[0])]
            for command in typed:
                if any(text in command for text in (NOT_HERE if lang == LANGUAGES[0] else ONCE)):
                    continue
                if command.startswith("timeout"):
                    self.interrupted(command)
                else:
                    self.shell(command)
        if task.said:
            self.today("--done", name)

    def tell(self) -> None:
        """Write into the retrospective what a user would write."""
        retrospective = self.out / "runs/big/retrospective.md"
        text = retrospective.read_text(encoding="utf-8")
        place = "<!-- your words: hardest -->\n"
        retrospective.write_text(text.replace(place, f"{place}{STORY}", 1), encoding="utf-8")


def main() -> int:
    """Walk; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="an empty folder, or that of a walk to go on with")
    parser.add_argument("--until", metavar="weekN", help="stop after this week")
    parser.add_argument("--skip", metavar="TASK", nargs="*", default=[], help="leave these for another time")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    benchmarks = options.out / "benchmarks"
    if not benchmarks.exists():
        benchmarks.symlink_to(ROOT / "benchmarks")  # a task types `python benchmarks/dedup.py`
    with ExitStack() as open_until:
        walk = Walk(options.out.absolute(), open_until)
        walk.today("--scale", "miniature", "--price", "3/h", "--budget", "100cny", "--platform", "own")
        failed = walk_all(walk, int((options.until or "week4").removeprefix("week")), options.skip)
    return finish(walk, failed)


def walk_all(walk: Walk, last_week: int, skipped: list[str]) -> list[str]:
    """All tasks up to a week in their order; returns those that should be done and are not."""
    failed = []
    for task in all_tasks():
        entry = walk.entry(task.id)
        if entry.week > last_week:
            break
        if entry.is_done:
            print(f"{task.id}: done before", flush=True)
            continue
        if task.id in skipped:
            print(f"{task.id}: left for another time", flush=True)
            continue
        if task.needs_gpu:
            print(f"{task.id}: stays open, it needs a GPU", flush=True)
            continue
        current = json.loads(walk.today("--json"))["today"]
        began = time.monotonic()
        walk.do(task.id)
        seconds = time.monotonic() - began
        write_json(walk.times, {**walk.took, task.id: round(seconds, 1)})
        entry = walk.entry(task.id)
        order = "" if current == task.id else f" (the ledger asked for {current})"
        missing = f" MISSING {', '.join(entry.missing)}" if entry.missing else ""
        print(f"{task.id}: {seconds:.0f} s{order}{missing}", flush=True)
        if not entry.is_done:
            failed.append(task.id)
    return failed


def finish(walk: Walk, failed: list[str]) -> int:
    """The ledger and the quiz in both languages, the figures compared; returns the exit code."""
    strange, figures, asked = [], 0, 0
    for lang in LANGUAGES:
        (walk.out / f"ledger.{lang}.txt").write_text(walk.today("--all", "--lang", lang), encoding="utf-8")
        print(walk.today("--lang", lang))
        walk.today("--quiz", "--lang", lang)
        quiz = (walk.out / "quiz.md").read_text(encoding="utf-8")
        (walk.out / f"quiz.{lang}.txt").write_text(quiz, encoding="utf-8")
        count, unknown = strange_figures(quiz, json.loads(walk.today("--json", "--lang", lang)))
        figures, asked = figures + count, quiz.count("\n## ")
        strange += [f"{lang}: {figure}" for figure in unknown]
    for line in strange:
        print(f"not in the ledger: {line}")
    entries, left = walk.ledger().entries, [entry.task.id for entry in walk.ledger().open]
    print(
        f"tasks={len(entries)} done={len(entries) - len(left)} open={','.join(left) or 'none'} "
        f"questions={asked} figures={figures} seconds={sum(walk.took.values()):.0f}"
    )
    return 1 if failed or strange else 0


if __name__ == "__main__":
    sys.exit(main())
