"""The whole way on a laptop. Run: megatron-recipe demo, or make demo

    collect → clean → deduplicate → tokenizer → dataset → train → export → evaluate → report

Each step is the same code that its own command runs, keeps what it made, and is not repeated when that is there.
"""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.pipeline import steps as data_steps
from data_prep.recipe import DataRecipe, load_recipe
from megatron_recipe import console
from megatron_recipe.config import Config
from megatron_recipe.files import read_jsonl, write_json
from megatron_recipe.languages import require_language
from megatron_recipe.recipes import load_config

RECIPE = "gpt_tiny_cpu"
INTERRUPTED = 130


@dataclass(frozen=True)
class Demo:
    """Where the demo reads and writes."""

    data: DataRecipe
    config: Config
    run_dir: Path
    export_dir: Path
    lang: str

    @property
    def steps(self) -> list[tuple[str, Callable[["Demo"], str]]]:
        """Names and functions of the steps; each function returns its one-line result."""
        stages = [(stage.__name__.replace("_", " "), _data_step(stage)) for stage in data_steps(self.data)]
        return [
            *stages,
            ("train", train_step),
            ("export", export_step),
            ("evaluate", evaluate_step),
            ("report", report_step),
        ]


def demo_command(
    sources: tuple[Path, ...], name: str, vocab_size: int, lang: str, overrides: tuple[str, ...], dry_run: bool
) -> int:
    """Run the demo, or with `dry_run` say its steps; returns the exit code."""
    require_language(lang)  # answered here, and not after all the work
    dataset = Path("datasets") / name
    demo = Demo(
        data=load_recipe("documents", {"sources": sources, "out": dataset, "tokenizer.vocab_size": vocab_size}),
        config=load_config(RECIPE, (f"data.datasets={dataset}", *overrides)),
        run_dir=Path("runs") / name,
        export_dir=Path("exports") / name,
        lang=lang,
    )
    if dry_run:
        text = ", ".join(map(str, sources)) or "the documentation installed with Python, and Chinese idioms"
        console.say(f"text: {text}\nsteps: {' → '.join(step for step, _ in demo.steps)}")
        console.say(f"into: {dataset}, {demo.run_dir}, {demo.export_dir}")
        return 0
    started = time.monotonic()
    for number, (step, run) in enumerate(demo.steps, start=1):
        console.say(f"[{number}/{len(demo.steps)}] {step}")
        try:
            console.say(f"      {run(demo)}")
        except Stopped as stopped:
            console.say(f"stopped in {step}; `make demo` continues there")
            return INTERRUPTED if stopped.signal is signal.SIGINT else 0
    say_what_next(demo, time.monotonic() - started)
    return 0


class Stopped(Exception):
    """Training was asked to stop by a signal and saved a checkpoint."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number


def _data_step(stage: Callable[[DataRecipe], Any]) -> Callable[[Demo], str]:
    def step(demo: Demo) -> str:
        result = stage(demo.data)
        return f"{result.summary}{' (done before)' if result.cached else f' ({result.seconds:.0f} s)'}"

    return step


def train_step(demo: Demo) -> str:
    """Train, or continue; the run folder remembers how far it came."""
    from megatron_recipe.light_imports import light_imports

    with light_imports():
        from megatron_recipe.train import train

    stop = train(demo.config, demo.run_dir)
    if stop.signal:
        raise Stopped(stop.signal)
    records = read_jsonl(demo.run_dir / "metrics.jsonl")
    trained = [record for record in records if record["kind"] == "train"]
    held_out = [record for record in records if record["kind"] == "validation"]
    last = trained[-1]
    # train.validation_samples=0 leaves no record of it
    validation = f", held-out loss {held_out[-1]['loss']:.2f}" if held_out else ""
    return (
        f"{last['tokens']:,} tokens in {last['seconds']:.0f} s; training loss {trained[0]['loss']:.2f} → "
        f"{last['loss']:.2f}{validation}"
    )


def export_step(demo: Demo) -> str:
    """Export to a Hugging Face folder, with proof that its logits and its tokenizer's ids are equal."""
    from checkpoints_tools.megatron_checkpoint import find_checkpoint
    from checkpoints_tools.to_hf import export_run

    newest = find_checkpoint(demo.run_dir)
    facts = demo.export_dir / "export.json"
    # by time: a run that was begun anew has checkpoints of the same names
    if facts.is_file() and facts.stat().st_mtime > (newest / "checkpoint.json").stat().st_mtime:
        export, done = json.loads(facts.read_text(encoding="utf-8")), " (done before)"
    else:
        export = export_run(newest, demo.export_dir, dataset=demo.data.out, dtype="float32", compare=True)
        done = ""
    proof = export["comparison"]
    return (
        f"{demo.export_dir}: logits differ by {proof['max_abs_difference']:.1e} at most over {proof['tokens']:,} "
        f"tokens, same top token on {proof['top1_agreement']:.1%}; tokenizer ids equal on "
        f"{export['tokenizer']['documents']:,} documents{done}"
    )


def evaluate_step(demo: Demo) -> str:
    """Held-out perplexity of the exported model, and generated samples."""
    from eval.generate import generate_samples
    from eval.perplexity import evaluate_perplexity
    from eval.prompts import read_prompts

    folder = demo.run_dir / "eval"
    result = evaluate_perplexity(demo.export_dir, demo.data.out, batch_size=8)
    write_json(folder / "perplexity.json", result)
    new_tokens = min(64, demo.config.model.sequence_length_tokens - 1)
    samples = generate_samples(demo.export_dir, read_prompts(), max_new_tokens=new_tokens, seed=1234)
    write_json(folder / "samples.json", samples)
    split = result["splits"]["validation"]
    gap = split["unigram_loss"] - split["loss"]
    return (
        f"held-out loss {split['loss']:.3f} nats a token ({abs(gap):.2f} {'below' if gap > 0 else 'above'} unigram "
        f"counts), perplexity {split['perplexity']:.1f}, {split['bits_per_byte']:.3f} bits per byte"
    )


def report_step(demo: Demo) -> str:
    """Write the run's page."""
    from megatron_recipe.report import write_report

    return str(write_report(demo.run_dir, lang=demo.lang, out=None))


def say_what_next(demo: Demo, seconds: float) -> None:
    """Where the report is, and three commands to try."""
    prompt = "人工智能" if demo.lang == "zh" else "The function returns"
    console.say(
        f"\ndone in {seconds / 60:.1f} minutes. The report: {(demo.run_dir / 'report.html').absolute()}\n"
        "Try next:\n"
        f'  .venv/bin/megatron-recipe eval generate {demo.export_dir} --prompt "{prompt}"\n'
        f"  .venv/bin/megatron-recipe data inspect {demo.data.out}\n"
        f"  .venv/bin/megatron-recipe train gpt_100m --set data.datasets={demo.data.out} --set precision.dtype=fp32 "
        "--set train.steps=3 --set batch.global_batch_size_samples=2 --set batch.micro_batch_size_samples=1"
    )
