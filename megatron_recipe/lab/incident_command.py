"""The commands `lab incident` and `lab all`: run what is not finished, judge, write pages."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe import console
from megatron_recipe.errors import ConfigError
from megatron_recipe.files import held_alone
from megatron_recipe.lab.compare_command import OF_A_SIGNAL, SOME_FAILED, command_line, last_step
from megatron_recipe.lab.incident import incident_names, read_incident
from megatron_recipe.lab.incident_measures import held_out_loss
from megatron_recipe.lab.incident_plan import Act, Asked, Case, make_case, unique
from megatron_recipe.lab.incident_result import write_incident_result
from megatron_recipe.lab.incident_runs import check_acts, do_acts, is_done, unfinished
from megatron_recipe.lab.incident_verdict import Look, require_known_names
from megatron_recipe.lab.incident_wording import ratio_text
from megatron_recipe.lab.incident_words import WORDS
from megatron_recipe.lab.machine import Machine, run_seconds, this_machine
from megatron_recipe.lab.on_gpus import naming_parts
from megatron_recipe.lab.run_states import Outcome
from megatron_recipe.lab.wording import duration_text
from megatron_recipe.lab.words import WORDS as COMMON
from megatron_recipe.languages import require_language
from megatron_recipe.settings import split_override

LOOK_SECONDS = 20.0
AT_ONCE, AT_ONCE_OF_ALL = 2, 16
"""Runs that can go on at a time at most: an incident's and its remedy's; those of several incidents."""
SEEDS = ("train.seed", "data.seed")


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    names: tuple[str, ...] = ()
    """Of incidents, or YAML files; empty is all."""
    recipe: str = "gpt_tiny_cpu"
    overrides: tuple[str, ...] = ()
    data: str | None = None
    out: Path | None = None
    seed: int = 1
    tokens: float | None = None
    jobs: int | None = None
    gpus: int | None = None
    lang: str = "en"
    dry_run: bool = False

    @property
    def is_all(self) -> bool:
        """Whether it is about the whole lab."""
        return not self.names


def incident_command(options: Options) -> int:
    """Run incidents; returns the exit code: 0, 1 where a control failed, 128 + n after signal n (130 is Ctrl-C)."""
    require_language(options.lang)
    machine = this_machine(options.gpus, options.jobs, AT_ONCE_OF_ALL if options.is_all else AT_ONCE)
    folder, cases = cases_of(options, "gpu" if machine.hardware else "cpu")
    runnable = [case for case in cases if case.incident.needs == "cpu" or machine.hardware]
    acts = unique(runnable)
    with naming_parts(machine):
        facts = check_acts(acts, machine)
    if options.dry_run:
        say_plan(options, folder, cases, acts, machine, facts[0].vocab_size if facts else 0)
        return 0
    held = options.out or Path("incidents")  # with its controls, which several incidents share
    busy = f"{held}: process {{holder}} runs incidents there; wait for it, or name another --out"
    with held_alone(held / ".lock", busy):
        report = Progress(acts, options.lang)
        stopped = do_acts(acts, machine, report.ended, report.look)
        if stopped:
            console.say(f"{stopped.name}: {COMMON[options.lang]['again']}")
            return OF_A_SIGNAL + stopped
        return conclude(options, folder, cases, has_gpu=machine.hardware is not None)


def cases_of(options: Options, place: str) -> tuple[Path, list[Case]]:
    """The folder of all that is written, and the incidents with their runs.

    Raises:
        ConfigError: an unknown incident, check or figure, or a run that cannot be.
    """
    overrides = [(".".join(path), value) for path, value in (split(text) for text in options.overrides)]
    for name, value in overrides:
        if name in SEEDS:
            raise ConfigError(f"--set {name}={value}: all runs of an incident have one seed; use --seed {value}")
    if options.data:
        overrides.append(("data.datasets", [{"path": options.data}]))
    tokens = None if options.tokens is None else int(options.tokens)
    asked = Asked(options.recipe, tuple(overrides), options.seed, tokens)
    incidents = [read_incident(name) for name in options.names or incident_names()]
    for incident in incidents:
        require_known_names(incident)
    root = options.out or Path("incidents")
    if options.is_all or options.out is None:
        cases = [make_case(one, asked, root / one.name, root / "controls", place) for one in incidents]
    else:
        cases = [make_case(one, asked, root, None, place) for one in incidents]
    return (root if options.is_all else cases[0].folder), cases


def split(override: str) -> tuple[list[str], Any]:
    """Path and value of a --set."""
    return split_override(override, "model.num_layers=2")


def say_plan(
    options: Options, folder: Path, cases: Sequence[Case], acts: Sequence[Act], machine: Machine, vocabulary: int
) -> None:
    """What would be run, and how long it may take."""
    words, common = WORDS[options.lang], COMMON[options.lang]
    place = common["on_gpus"] if machine.hardware else common["on_cpu"]
    card = machine.hardware.card if machine.hardware else ""
    where = place.format(at_once=machine.at_once, threads=machine.threads, card=card)
    if options.is_all:
        console.say(words["planned.all"].format(incidents=len(cases), runs=len(acts), machine=where, folder=folder))
    for case in cases:
        tokens = case.comparison.tokens_per_run
        title = getattr(case.incident.title, options.lang)
        needs = "" if case.incident.needs == "cpu" or machine.hardware else f" ({words['verdict.needs a gpu']})"
        line = words["planned"].format(
            name=case.incident.name,
            title=title,
            runs=len(case.acts),
            recipe=options.recipe,
            tokens=tokens,
            machine=where,
            folder=case.folder,
        )
        console.say(line + needs)
    console.say(words["already"].format(done=sum(map(is_done, acts)), runs=len(acts)))
    times = [seconds_of(act, vocabulary, machine) for act in unfinished(acts)]
    if all(time is not None for time in times):
        total = sum(time or 0.0 for time in times) / machine.at_once
        console.say(common["estimate"].format(time=duration_text(total, common), cost=""))
    else:
        console.say(common["unknown_time"])


def seconds_of(act: Act, vocabulary: int, machine: Machine) -> float | None:
    """A run's time, roughly."""
    tokens = act.config.train.steps * act.config.batch.global_batch_size_samples
    tokens *= act.config.model.sequence_length_tokens
    return run_seconds(act.config, act.config.model.vocab_size or vocabulary, tokens, machine)


def conclude(options: Options, folder: Path, cases: Sequence[Case], *, has_gpu: bool) -> int:
    """Judge, write results, pages and the summary, and say them; returns the exit code."""
    from megatron_recipe.lab.incident_page import PAGES, write_pages

    words, failed = WORDS[options.lang], False
    results = []
    for case in cases:
        result = write_incident_result(case, command_line(), has_gpu=has_gpu)
        write_pages(result, case.folder)
        results.append(result)
        failed |= result["runs"]["control"]["state"] == "failed"
        console.say(
            words["result"].format(
                name=case.incident.name,
                verdict=words[f"verdict.{result['verdict']}"],
                ratio=ratio_text(result["remedy"]["loss_over_control"]),
            )
        )
    page = folder / PAGES[options.lang]
    if options.is_all:
        from megatron_recipe.lab.incident_summary import write_summary

        page = write_summary(results, folder, options.lang)
    console.say(words["page"].format(path=shlex.quote(str(page))))
    return SOME_FAILED if failed else 0


class Progress:
    """Says how each run ended, and now and then what goes on."""

    def __init__(self, acts: Sequence[Act], lang: str) -> None:
        self.words, self.common = WORDS[lang], COMMON[lang]
        self.all = len(unfinished(acts))
        self.done = 0
        self.began = self.looked = time.monotonic()
        self.running: Sequence[Act] = ()

    def ended(self, act: Act, outcome: Outcome, seconds: float) -> None:
        """After each run."""
        self.done += 1
        share = self.done + sum(share_done(one) for one in self.running if one is not act)
        left = (time.monotonic() - self.began) / share * (self.all - share)
        more = self.common["left"].format(time=duration_text(left, self.common)) if self.done < self.all else ""
        console.say(
            self.words["ended"].format(
                label=act.label, how=self._how(act, outcome), seconds=seconds, done=self.done, runs=self.all, left=more
            )
        )

    def _how(self, act: Act, outcome: Outcome) -> str:
        if outcome.state != "finished":
            return self.words[f"state.{outcome.state}"].format(reason=outcome.reason)
        loss = held_out_loss(Look(act.folder).signals)
        return self.words["state.finished"] if loss is None else self.words["finished"].format(loss=f"{loss:.4f}")

    def look(self, running: Sequence[Act]) -> None:
        """A line about what runs, now and then."""
        self.running = running
        if not running or time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        steps = [
            self.words["step"].format(label=one.label, step=last_step(one.planned), steps=one.config.train.steps)
            for one in running
        ]
        console.say(self.words["running"].format(runs="; ".join(steps)))


def share_done(act: Act) -> float:
    """How much of a run is done, by its steps."""
    return last_step(act.planned) / act.config.train.steps
