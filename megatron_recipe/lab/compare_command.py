"""The command `lab compare`: check everything, run what is not finished, judge, and say it."""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from megatron_recipe import console
from megatron_recipe.errors import ConfigError
from megatron_recipe.files import atomic_file, held_alone, read_jsonl
from megatron_recipe.lab.asked import Asked
from megatron_recipe.lab.machine import Machine, this_machine
from megatron_recipe.lab.measures import HELD_OUT
from megatron_recipe.lab.on_gpus import naming_parts, on_gpus
from megatron_recipe.lab.options import comparison_of
from megatron_recipe.lab.plan import Plan, PlannedRun, check_plan, make_plan
from megatron_recipe.lab.resolved import resolved
from megatron_recipe.lab.result import PLAN, write_result
from megatron_recipe.lab.run_states import Outcome, outcome_of
from megatron_recipe.lab.runner import run_all
from megatron_recipe.lab.slurm import running_job, submit
from megatron_recipe.lab.starters import Starter, forking
from megatron_recipe.lab.wording import duration_text
from megatron_recipe.lab.words import WORDS
from megatron_recipe.languages import require_language

SOME_FAILED, OF_A_SIGNAL = 1, 128
LOOK_SECONDS = 20.0


def compare_command(asked: Asked) -> int:
    """Run a comparison; returns the exit code: 0, 1 where a run failed, 128 + n after signal n (130 is Ctrl-C)."""
    require_language(asked.lang)
    comparison = resolved(comparison_of(asked))
    folder = asked.out or Path("comparisons") / comparison.name
    plan = make_plan(comparison, folder)
    todo = [run for run in plan.runs if asked.only is None or run.number == asked.only]
    if not todo:
        raise ConfigError(f"--only {asked.only}: the runs are numbered from 0 to {len(plan.runs) - 1}")
    machine = this_machine(asked.gpus, asked.jobs, len(todo))
    # the machine that submits to a cluster is not the one that trains: each task checks its own
    with naming_parts(machine):
        facts = check_plan(plan, None if asked.slurm else machine.hardware, here=not asked.slurm)
    if asked.dry_run:
        from megatron_recipe.lab.tables import print_plan

        print_plan(plan, facts, machine, asked.lang)
        return 0
    if asked.slurm:
        return submit_to_slurm(plan, asked)
    if asked.only is not None:
        return do_runs(plan, todo, machine, asked)
    if job := running_job(folder):
        raise ConfigError(f"{folder}: Slurm's job {job} does these runs; wait for it, or end it with scancel {job}")
    busy = f"{folder}: process {{holder}} runs this comparison; wait for it, or name another --out"
    with held_alone(folder / ".lock", busy):
        write_plan(plan)
        return do_runs(plan, todo, machine, asked)


def command_line() -> str:
    """The command that was given, to give it again."""
    return shlex.join(["megatron-recipe", *sys.argv[1:]])


def write_plan(plan: Plan) -> None:
    """Write plan.yaml: a comparison file that repeats this comparison."""
    with atomic_file(plan.folder / PLAN) as file:
        yaml.safe_dump(plan.comparison.model_dump(mode="json"), file, sort_keys=False, allow_unicode=True)


def do_runs(plan: Plan, todo: Sequence[PlannedRun], machine: Machine, asked: Asked) -> int:
    """Run what is not finished, then print the table; returns the exit code."""
    report = Progress(plan, todo, asked.lang)
    result = write_result(plan, command_line())
    stopped = None
    if any(outcome_of(run.folder).state != "finished" for run in todo):
        priced = [with_share_of_price(run, machine.at_once) for run in todo]
        stopped = run_all(priced, starter(machine), machine.at_once, report.ended, report.look)
        result = write_result(plan, command_line())
    if stopped:
        console.say(f"{stopped.name}: {WORDS[asked.lang]['again']}")
        return OF_A_SIGNAL + stopped
    if asked.only is None:
        from megatron_recipe.lab.tables import print_result

        print_result(result, asked.lang)
        console.say(WORDS[asked.lang]["page"].format(folder=shlex.quote(str(plan.folder))))
    return SOME_FAILED if any(outcome_of(run.folder).state == "failed" for run in todo) else 0


def starter(machine: Machine) -> Starter:
    """How runs are started here."""
    return on_gpus(machine) if machine.devices else forking(machine.threads)


def with_share_of_price(run: PlannedRun, at_once: int) -> PlannedRun:
    """The run with its share of the machine's price: that of all runs that go on at a time."""
    budget = run.config.budget
    share = budget.model_copy(update={"price_per_hour": budget.price_per_hour / at_once})
    return replace(run, config=run.config.model_copy(update={"budget": share}))


def submit_to_slurm(plan: Plan, asked: Asked) -> int:
    """Submit what is not finished as an array, or say how far it is; returns the exit code."""
    write_plan(plan)
    result = write_result(plan, command_line())
    states = [outcome_of(run.folder).state for run in plan.runs]
    done = states.count("finished")
    if job := running_job(plan.folder):
        console.say(f"job {job} is in the queue; {done} of {len(states)} runs are finished")
    elif done < len(states):
        job = submit(plan, asked.sbatch)
        console.say(f"submitted job {job}: {len(states) - done} runs; the same command says how far they are")
    else:
        from megatron_recipe.lab.tables import print_result

        print_result(result, asked.lang)
    return 0


class Progress:
    """Says how each run ended, writes comparison.json after it, and says now and then what goes on."""

    def __init__(self, plan: Plan, todo: Sequence[PlannedRun], lang: str) -> None:
        self.plan, self.words, self.lang = plan, WORDS[lang], lang
        self.all = sum(outcome_of(run.folder).state != "finished" for run in todo)
        self.done = 0
        self.running: Sequence[PlannedRun] = ()
        self.began = self.looked = time.monotonic()

    def ended(self, run: PlannedRun, outcome: Outcome, seconds: float) -> None:
        """After each run."""
        result = write_result(self.plan, command_line())
        self.done += 1
        # those that go on count by their steps: half of what was begun together would else look like half of all
        share = self.done + sum(last_step(one) / one.config.train.steps for one in self.running if one is not run)
        left = (time.monotonic() - self.began) / share * (self.all - share)
        console.say(
            self.words["ended"].format(
                label=run.label,
                seed=run.seed,
                how=self._how(run, outcome, result),
                seconds=seconds,
                done=self.done,
                runs=self.all,
                left=self.words["left"].format(time=duration_text(left, self.words)) if self.done < self.all else "",
            )
        )

    def _how(self, run: PlannedRun, outcome: Outcome, result: dict[str, Any]) -> str:
        if outcome.state == "failed":
            return self.words["failed"].format(reason=outcome.reason)
        if outcome.state != "finished":
            return self.words["stopped"]
        setting = next(one for one in result["settings"] if one["label"] == run.label)
        loss = next(one["values"][HELD_OUT] for one in setting["runs"] if one["seed"] == run.seed)
        return self.words["finished_unmeasured"] if loss is None else self.words["finished"].format(loss=f"{loss:.4f}")

    def look(self, running: Sequence[PlannedRun]) -> None:
        """A line about what runs, now and then."""
        self.running = running
        if not running or time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        steps = [
            self.words["step"].format(label=run.label, seed=run.seed, step=last_step(run), steps=run.config.train.steps)
            for run in running
        ]
        console.say(self.words["running"].format(runs="; ".join(steps)))


def last_step(run: PlannedRun) -> int:
    """Of the newest record; 0 before the first."""
    path = run.folder / "metrics.jsonl"
    records = read_jsonl(path) if path.is_file() else []
    return int(records[-1]["step"]) if records else 0
