"""Does `diagnose` name what was planted, and nothing where nothing was? Every incident of the lab, on several seeds.

    python -m benchmarks.incidents [--dataset datasets/demo] [--seeds 11,12,13] [--controls 11-20] [--folder DIR]
        [--remedies 1] [--only NAME …] [--jobs 2] [--write docs]

Each incident of `megatron_recipe/lab/incidents` that runs on a CPU is trained on each of `--seeds`, and its control on
each of `--controls`, with the real trainer and a model of two layers. What is there is not trained again, so that the
same command goes on after a stop. Then, from the run folders alone:

- a *hit* is an incident's run of which `diagnose` names the planted cause first, before all that is wrong or odd;
- a *false alarm* is a control of which `diagnose` says that something is wrong (exit code 1);
- the incident's own criterion has to be seen in its runs, and not in the controls, each of which is held against the
  control of another seed;
- the remedy, on the first `--remedies` seeds, has to end within 3 % of its control's loss.

Prints a table, and last ``incidents= runs= hits= false_alarms= controls=``. Exit code 1 where less than 90 % are hits,
a control alarms or satisfies a criterion. `--write` puts the tables into diagnose.md and its Chinese twin.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.incident_tables import PAGES, Row, last_line, section, text_table, with_section
from megatron_recipe.files import atomic_file
from megatron_recipe.lab.incident import incident_names, read_incident
from megatron_recipe.lab.incident_plan import Act, Asked, Case, Role, make_case, unique
from megatron_recipe.lab.incident_verdict import Look, judge_look, recovered
from megatron_recipe.lab.machine import Machine
from megatron_recipe.lab.run_states import Outcome

MODEL = {
    "model.num_layers": 2,
    "model.hidden_size": 64,
    "model.ffn_hidden_size": 176,
    "model.num_heads": 4,
    "model.num_kv_groups": 2,
    "model.head_dim": 16,
    "model.sequence_length_tokens": 128,
}
ENOUGH_HITS = 0.9


def main() -> int:
    """Train what is not there, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=Path("datasets/demo"))
    parser.add_argument("--seeds", type=seeds_of, default=[11, 12, 13], help="of the incidents")
    parser.add_argument("--controls", type=seeds_of, default=list(range(11, 21)), help="seeds of the controls")
    parser.add_argument("--remedies", type=int, default=1, help="of the first so many seeds")
    parser.add_argument("--only", nargs="*", help="names of incidents")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("work/incidents"))
    parser.add_argument("--judge-only", action="store_true", help="train nothing, judge what is there")
    parser.add_argument("--write", type=Path, help="folder of diagnose.md and diagnose.zh-CN.md")
    asked = parser.parse_args()
    cases = all_cases(asked)
    if not asked.judge_only and train(wanted(cases, asked), asked.jobs):
        return 130
    rows, controls = judge(cases, asked)
    print(text_table(rows, controls))
    if asked.write:
        command = "python -m benchmarks.incidents " + shlex.join(sys.argv[1:])
        for lang, name in PAGES.items():
            text = (asked.write / name).read_text(encoding="utf-8")
            body = section(rows, controls, lang, command, asked.seeds, asked.controls)
            with atomic_file(asked.write / name) as file:
                file.write(with_section(text, body))
    print(last_line(rows, controls))
    runs, hits = sum(row.runs for row in rows), sum(row.hits for row in rows)
    quiet = not any(wrong for wrong, _ in controls.values()) and not any(row.seen_in_controls for row in rows)
    return 0 if runs and hits >= ENOUGH_HITS * runs and quiet else 1


def seeds_of(text: str) -> list[int]:
    """`11,12` or `11-20`."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if last else [int(seed) for seed in text.split(",")]


Cases = dict[str, dict[int, Case]]
"""By incident and seed."""


def all_cases(asked: argparse.Namespace) -> Cases:
    """Every incident on every seed of it or of its control."""
    incidents = [read_incident(name) for name in asked.only or incident_names()]
    values = {**MODEL, "data.datasets": [{"path": str(asked.dataset)}]}
    cases: Cases = {}
    for incident in incidents:
        if incident.needs == "cpu":
            cases[incident.name] = {
                seed: make_case(
                    incident,
                    Asked(overrides=tuple(values.items()), seed=seed, tokens=tokens_of(asked.steps)),
                    asked.folder / f"seed-{seed}" / incident.name,
                    asked.folder / f"seed-{seed}",
                    "cpu",
                )
                for seed in sorted({*asked.seeds, *asked.controls})
            }
    return cases


def tokens_of(steps: int) -> int:
    """Of a run: the lab halves the tiny recipe's batch of 16 on a CPU."""
    return steps * 8 * MODEL["model.sequence_length_tokens"]


def wanted(cases: Cases, asked: argparse.Namespace) -> list[Act]:
    """The runs: incidents on their seeds, remedies on some of them, controls on all."""

    def roles(seed: int) -> list[Role]:
        found: list[Role] = ["control"]
        if seed in asked.seeds:
            found.append("incident")
        if seed in asked.seeds[: asked.remedies]:
            found.append("remedy")
        return found

    of_seeds = [(seed, case) for by_seed in cases.values() for seed, case in by_seed.items()]
    folders = {case.acts[role].folder for seed, case in of_seeds for role in roles(seed)}
    return [act for act in unique([case for _, case in of_seeds]) if act.folder in folders]


def train(acts: Sequence[Act], jobs: int) -> bool:
    """Do what is not done; returns whether it was stopped."""
    from megatron_recipe.lab.incident_runs import do_acts

    done = [0]

    def ended(act: Act, outcome: Outcome, seconds: float) -> None:
        done[0] += 1
        when = time.strftime("%H:%M:%S")
        print(f"{when} {done[0]}: {act.label}, seed {act.planned.seed}: {outcome.state}, {seconds:.0f} s", flush=True)

    machine = Machine([], None, jobs, 1)
    return do_acts(acts, machine, ended, lambda running: None) is not None


def judge(cases: Cases, asked: argparse.Namespace) -> tuple[list[Row], dict[str, tuple[list[str], list[str]]]]:
    """A row for each incident, and what `diagnose` says of each control: what is wrong, and what is odd."""
    looks = {
        case.acts["control"].folder: Look(case.acts["control"].folder)
        for by_seed in cases.values()
        for seed, case in by_seed.items()
        if seed in asked.controls or seed in asked.seeds
    }
    controls = {
        f"{folder.name}, {folder.parent.name}": (named(look, "wrong"), named(look, "attention"))
        for folder, look in looks.items()
        if any(folder.parent.name == f"seed-{seed}" for seed in asked.controls)
    }
    rows = []
    for name, by_seed in cases.items():
        healthy = {seed: looks[case.acts["control"].folder] for seed, case in by_seed.items()}
        rows.append(row_of(name, by_seed, healthy, asked))
    return rows, controls


def row_of(name: str, by_seed: dict[int, Case], healthy: dict[int, Look], asked: argparse.Namespace) -> Row:
    """What the runs of one incident say."""
    incident = by_seed[asked.seeds[0]].incident
    planted = next((condition.checks for condition in incident.criterion if condition.checks), [])
    ill = {seed: Look(by_seed[seed].acts["incident"].folder) for seed in asked.seeds}
    seeds = asked.controls
    others = dict(zip(seeds, [*seeds[1:], seeds[0]], strict=True))
    verdicts = {seed: judge_look(incident, healthy[seed], healthy[others[seed]]).seen for seed in seeds}
    mended = {seed: Look(by_seed[seed].acts["remedy"].folder) for seed in asked.seeds[: asked.remedies]}
    ratios = [ratio for seed, look in mended.items() if (ratio := recovered(look, healthy[seed])) is not None]
    return Row(
        name=name,
        planted=planted,
        first={seed: next(iter([*named(look, "wrong"), *named(look, "attention")]), "") for seed, look in ill.items()},
        seen={seed: bool(judge_look(incident, look, healthy[seed]).seen) for seed, look in ill.items()},
        controls=len(verdicts),
        seen_in_controls=[seed for seed, seen in verdicts.items() if seen],
        recovered=max(ratios, default=None),
        should_recover=incident.remedy.recovers,
        title=(incident.title.en, incident.title.zh),
    )


def named(look: Look, state: str) -> list[str]:
    """Checks in this state, likeliest causes first."""
    return [one.criterion.name for one in look.results if one.finding.state == state]


if __name__ == "__main__":
    sys.exit(main())
