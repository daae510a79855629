"""Everything that this repository measures on GPUs, in one go: where the tables of docs/ come from.

    python -m benchmarks.on_gpu --out OUT --data datasets/main --mix en=datasets/en --mix zh=datasets/zh \\
        --small datasets/small --questions evalsets
    python -m benchmarks.on_gpu --out OUT --data datasets/main --only scaling numerics
    python -m benchmarks.on_gpu --out OUT --data datasets/main --dry-run          # the commands, anywhere

`--data` is a prepared dataset; `--mix` its sources with the same tokenizer (two or more, for the data mix); `--small`
one with a vocabulary of about 4,096 (exports that are brought home); `--questions` what `eval download` fetched. What a
missing one would serve is left out. Where a card's time is measured, a job has the card, or all of them, for itself;
where not, `--parts` share one.

Each job's words are in OUT/NAME.log, its results below OUT. The same command goes on: what ended well is not repeated,
comparisons and incidents go on where they were. After `--seconds` all end, saving.

Prints last a line a job and `jobs= done= failed= left=`; exit code 1 where one failed or was left.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.job_queue import Job, JobQueue
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.errors import ConfigError, RecipeError

RECIPE_100M = ("--recipe", "gpt_100m", "--set", "batch.micro_batch_size_samples=16")
"""`auto` would take the whole card, and other jobs are on it."""
SMALL_STEPS = ("--set", "batch.global_batch_size_samples=16")
"""8M tokens in 244 steps: with the recipe's 128 samples, 31 steps would be all warm-up."""
AT_ONCE = ("--jobs", "3")
"""Of a comparison's runs: most of the time of each is its start."""
CALM = ("--set", "schedule.peak_learning_rate=3.0e-4", "--set", "schedule.warmup_fraction=0.1")
PLAIN = "kernels.layer=engine,kernels.loss=megatron,kernels.attention=cudnn,batch.micro_batch_size_samples=8"
CURVES = {
    "plain": PLAIN,
    "noise": PLAIN.replace("=8", "=4"),
    "layer": PLAIN.replace("layer=engine", "layer=fused"),
    "attention": PLAIN.replace("attention=cudnn", "attention=flash"),
    "loss": PLAIN.replace("loss=megatron", "loss=fused"),
    "loss-in-two": PLAIN.replace("loss=megatron", "loss=engine"),
    "all": "batch.micro_batch_size_samples=8",
    "recompute": f"{PLAIN},memory.recompute=full",
    "states": f"{PLAIN},optimizer.states=bf16,precision.gradients=bf16",
}
INCIDENTS = ("lr-x10", "no-gradient-clipping", "fp16-without-loss-scaling")
REFERENCE_SEEDS = (1, 2, 3)
REFERENCE = (
    "batch.global_batch_size_samples=32",
    "schedule.peak_learning_rate=6.0e-4",
    "schedule.min_learning_rate=6.0e-5",
    "schedule.warmup_fraction=0.05",
    "train.steps=1200",
    "train.log_every_steps=10",
    "train.validate_every_steps=100",
    "checkpoint.save_every_minutes=0",
)
"""78.6M tokens, two minutes. A quarter of the recipe's batch makes four times the steps of them, at a lower rate."""
TASKS = ("arc_easy", "hellaswag", "piqa", "winogrande")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--mix", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--small", type=Path)
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--price", help="of one GPU: 4.59usd/h; then costs are counted")
    parser.add_argument("--only", nargs="+", metavar="JOB", help="just these, in this order")
    parser.add_argument("--parts", type=int, default=2, help="jobs that share a card: 2 fit 80 GB, 5 fit 141 GB")
    parser.add_argument("--seconds", type=float, default=7200.0)
    parser.add_argument("--dry-run", action="store_true")
    return parser.parse_args()


def all_jobs(options: argparse.Namespace) -> list[Job]:
    """In the order in which they begin."""
    found = [*speeds(options), *proofs(options), *experiments(options), *reference(options)]
    unknown = set(options.only or ()) - {job.name for job in found}
    if unknown:
        raise ConfigError(f"--only {sorted(unknown)[0]}: not one of {', '.join(job.name for job in found)}")
    by_name = {job.name: job for job in found}
    return [by_name[name] for name in options.only] if options.only else found


def speeds(options: argparse.Namespace) -> Iterator[Job]:
    """What takes a card, or all of them, for itself."""
    yield Job("scaling", python("benchmarks.scaling", "--out", options.out / "scaling"), "all", 900)
    train = ("benchmarks.train", "--data", options.data, "--steps", "20")
    litgpt, of_80_gb = ("litgpt-bf16",), ("--set", "batch.micro_batch_size_samples=2")
    for name, recipes, peers, more in (
        (
            "train-1b",
            ("gpt_1b", "gpt_1b_fp8"),
            (*litgpt, "litgpt-mixed", "transformers"),
            ("--samples", "32", "--micro-batches", "8", "16", "--bare"),
        ),
        ("train-300m", ("gpt_300m",), litgpt, ()),
        ("train-100m", ("gpt_100m",), litgpt, ()),
        ("train-3b", ("gpt_3b",), (), of_80_gb),
    ):
        command = python(*train, "--out", options.out / name, "--recipes", *recipes, "--peers", *peers, *more)
        yield Job(name, command, "card", 900)
    saves = ("--data", options.data, "--out", options.out / "saves", "--recipe", "gpt_1b", "--samples", "32")
    yield Job("saves", python("benchmarks.saves", *saves), "card", 400)


def proofs(options: argparse.Namespace) -> Iterator[Job]:
    """Tests, curves, exports."""
    pytest = ("pytest", "-p", "no:cacheprovider", "--durations=10")
    layouts = "tests/gpu/test_layouts_on_gpus.py"
    yield Job("layouts", python(*pytest, "-s", layouts), "all", 1500)
    yield Job("memory", python("benchmarks.layout_memory", "--out", options.out / "memory"), "card", 600)
    yield Job("tests", python(*pytest, "tests/gpu", "--ignore", layouts), "card", 600)
    numerics = ("benchmarks.numerics", "--data", options.data, *CALM, "--at-once", "3")
    runs = [word for name, settings in CURVES.items() for word in ("--run", name, settings)]
    curves = ("--steps", "200", "--out", options.out / "numerics", "--same", "recompute", *runs)
    yield Job("numerics", python(*numerics, *curves), "part", 900)
    bf16, noise = (f"batch.micro_batch_size_samples={size}" for size in (8, 4))
    runs = ["--run", "bf16", bf16, "--run", "noise", noise, "--run", "fp8", f"precision.fp8=delayed,{bf16}"]
    yield Job("fp8", python(*numerics, "--steps", "300", "--out", options.out / "fp8", *runs), "card", 400)
    if options.small:
        export = ("benchmarks.export_from_gpu", "train", options.out / "export", "--dataset", options.small)
        yield Job("export", python(*export), "part", 300)


def experiments(options: argparse.Namespace) -> Iterator[Job]:
    """Incidents and comparisons with gpt_100m."""
    steps = ("--set", "batch.global_batch_size_samples=32")
    for name in INCIDENTS:
        command = recipe("lab", "incident", name, *RECIPE_100M, *steps, "--data", options.data, "--tokens", "8e6")
        yield Job(f"incident-{name}", (*command, "--out", str(options.out / "incidents" / name)), "part", 600)
    shared = (*RECIPE_100M, *SMALL_STEPS, *AT_ONCE, "--tokens", "8e6", "--seeds", "1,2,3", *priced(options))
    folder = options.out / "comparisons"
    rate = recipe("lab", "compare", "learning_rate", *shared, "--dataset", options.data, "--out", folder / "rate")
    yield Job("compare-rate", rate, "part", 900)
    if len(options.mix) > 1:
        sources = [word for source in options.mix for word in ("--data", source)]
        mix = recipe("lab", "compare", "data_mix", *shared, *sources, "--out", folder / "mix")
        yield Job("compare-mix", mix, "part", 900)


def reference(options: argparse.Namespace) -> Iterator[Job]:
    """Runs of gpt_100m for a reference curve; the first one is exported and evaluated."""
    runs = options.out / "runs"
    for seed in REFERENCE_SEEDS:
        settings = [f"data.datasets={options.data}", *REFERENCE, f"train.seed={seed}", f"data.seed={seed}"]
        is_first = seed == REFERENCE_SEEDS[0]  # it says how fast such a run is and what it costs; the others share
        settings.append(f"batch.micro_batch_size_samples={32 if is_first else 16}")
        if options.questions and is_first:
            settings += ["evaluation.every_steps=200", f"evaluation.data_dir={options.questions}"]
            settings += [f"evaluation.tasks=[{','.join(TASKS)}]"]
        sets = [word for setting in settings for word in ("--set", setting)]
        command = recipe("train", "gpt_100m", *sets, *priced(options), "--run-dir", runs / f"reference-{seed}")
        yield Job(f"reference-{seed}", command, "card" if is_first else "part", 900)
    first, export = runs / "reference-1", options.out / "exports/reference-1"
    yield Job("model", recipe("convert", "to-hf", first, export), "part", 400, ("reference-1",))
    perplexity = ("--dataset", options.data, "--out", first / "eval/perplexity.json")
    yield Job("perplexity", recipe("eval", "perplexity", export, *perplexity), "part", 400, ("model",))
    samples = ("--out", first / "eval/samples.json", "--page", first / "eval/samples.html")
    yield Job("samples", recipe("eval", "generate", export, *samples), "part", 400, ("model",))
    if options.questions:
        scores = ("--data-dir", options.questions, "--out", first / "eval/harness.json")
        tasks = [word for task in TASKS for word in ("--task", task)]
        # its many small kernels wait for the others' on a shared card: 16 requests a second
        yield Job("scores", recipe("eval", "run", export, *scores, *tasks), "card", 600, ("model",))


def priced(options: argparse.Namespace) -> tuple[str, ...]:
    """The price, where one was given."""
    return ("--price", options.price) if options.price else ()


def python(module: str, *words: object) -> tuple[str, ...]:
    """`python -m MODULE WORDS`."""
    return (sys.executable, "-m", module, *map(str, words))


def recipe(*words: object) -> tuple[str, ...]:
    """`megatron-recipe WORDS`."""
    return python("megatron_recipe.cli", *words)


def check(options: argparse.Namespace) -> None:
    """Look at what the jobs will read before an hour is paid for, and make paths absolute: jobs run in the root.

    Raises RecipeError for a dataset that is none, questions that are not there, or a --mix that cannot be read.
    """
    for name in ("out", "data", "small", "questions"):
        if value := getattr(options, name):
            setattr(options, name, value.absolute())
    mix = [one.partition("=") for one in options.mix]
    for name, _, folder in mix:
        if not (name and folder):
            raise ConfigError(f"--mix {name}{folder}: write it as NAME=FOLDER, for example en=datasets/en")
    options.mix = [f"{name}={Path(folder).absolute()}" for name, _, folder in mix]
    for folder in (options.data, options.small, *(Path(one.partition("=")[2]) for one in options.mix)):
        if folder:
            read_dataset_facts(folder)
    if options.questions and not options.questions.is_dir():
        raise ConfigError(
            f"--questions {options.questions}: no such folder; `megatron-recipe eval download` fetches them"
        )


def main() -> int:
    """Run what is not done yet; returns the exit code."""
    options = arguments()
    try:
        check(options)
        jobs = all_jobs(options)
    except RecipeError as error:
        print(error, file=sys.stderr)
        return 2
    if options.dry_run:
        for job in jobs:
            print(f"{job.name} ({job.takes}, {job.seconds:.0f} s): {' '.join(job.command)}")
        return 0
    from megatron_recipe.lab.machine import this_machine

    cards = this_machine(None, None, len(jobs)).devices
    if not cards:
        print(
            "no GPU is visible here: `megatron-recipe doctor` says why; --dry-run shows the commands", file=sys.stderr
        )
        return 2
    try:
        ended = JobQueue(options.out, cards, time.monotonic() + options.seconds, options.parts).run(jobs)
    except KeyboardInterrupt:
        print("stopped: the same command goes on", file=sys.stderr)
        return 130
    except RecipeError as error:  # a full disk
        print(error, file=sys.stderr)
        return 2
    for job in jobs:
        found = ended.get(job.name)
        print(f"{job.name:34} {'left' if found is None else json.dumps({k: found[k] for k in ('code', 'seconds')})}")
    failed = sum(found["code"] != 0 for found in ended.values())
    left = len(jobs) - len(ended)
    print(f"jobs={len(jobs)} done={len(ended) - failed} failed={failed} left={left}")
    return int(bool(failed or left))


if __name__ == "__main__":
    sys.exit(main())
