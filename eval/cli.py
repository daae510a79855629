"""`megatron-recipe eval`: what a model is worth. Run: megatron-recipe eval --help"""

from pathlib import Path
from typing import Annotated, Any

import typer

from eval.download import download

app = typer.Typer(help="Held-out loss, generated text and benchmark scores of a model.", no_args_is_help=True)

Model = Annotated[Path, typer.Argument(help="A Hugging Face folder, a run (its newest checkpoint) or a checkpoint.")]
Out = Annotated[Path | None, typer.Option(help="JSON file to write; default: standard output.")]

app.command()(download)


@app.command()
def perplexity(
    model: Model,
    dataset: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]PATH",
            help="Held-out text: a dataset folder (its validation split), .jsonl or .txt; may be repeated.",
        ),
    ],
    out: Out = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows of full length at once.")] = 8,
    length: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a window; default: the model's sequence length.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Tokens from one window to the next; default: its length, no overlap.")
    ] = None,
    by_document: Annotated[
        bool, typer.Option("--by-document", help="Read each document by itself, as lm-eval does; not as in training.")
    ] = False,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of each set as many tokens at most, of random documents; default: all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check model and text, compute nothing.")] = False,
) -> None:
    """Loss, perplexity and bits per byte on held-out text, by set, source and language, with 95 % intervals."""
    from eval.models import check_model, find_model
    from eval.validation_sets import describe, parse_sets
    from megatron_recipe.console import say

    sets = parse_sets(dataset)
    _check_places(out)
    if dry_run:
        say(f"would evaluate {check_model(model)} on {'; '.join(describe(name, path) for name, path in sets.items())}")
        return
    from eval.perplexity import Reading, evaluate_sets

    reading = Reading(batch_size, length, stride, by_document, max_tokens)
    found = find_model(model)
    result = {**evaluate_sets(found.folder, sets, reading), **found.facts}
    for name, split in result["splits"].items():
        say(_loss_line(name, split))
    _write(result, out)


@app.command()
def generate(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL…", help="Hugging Face folders, runs or checkpoints, one or several.")
    ],
    prompt: Annotated[list[str] | None, typer.Option(help="Text to continue; may be repeated.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="JSONL file of prompts; default: eval/prompts.jsonl.")] = None,
    out: Out = None,
    page: Annotated[Path | None, typer.Option(help="HTML page to write, the models side by side.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest continuation.")] = 64,
    samples: Annotated[int, typer.Option(min=0, help="Sampled continuations of a prompt, beside the greedy.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.01, help="Of the sampled continuations.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Seed of the first sampled continuation; the next ones count up.")] = 1234,
    batch_size: Annotated[int, typer.Option(min=1, help="Continuations at once.")] = 16,
    lang: Annotated[str, typer.Option(help="Language of the page: en or zh.")] = "en",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check models and prompts, generate nothing.")] = False,
) -> None:
    """Continue prompts, greedily and sampled, with one model or several side by side."""
    from eval.models import check_model, find_model
    from eval.prompts import PROMPTS_FILE, read_prompts
    from megatron_recipe.console import say
    from megatron_recipe.errors import ConfigError
    from megatron_recipe.languages import require_language

    if prompt and prompts:
        raise ConfigError("--prompt and --prompts were both given; use one of them")
    require_language(lang)
    texts = prompt or read_prompts(prompts or PROMPTS_FILE)
    names = ", ".join(str(check_model(model)) for model in models)
    _check_places(out, page)
    if dry_run:
        say(f"would continue {len(texts)} prompts with {names}, {max_new_tokens} tokens each at most")
        return
    from eval.generate import generate_samples
    from eval.samples_page import write_page

    results = []
    for model in models:
        found = find_model(model)
        result = generate_samples(
            found.folder,
            texts,
            max_new_tokens=max_new_tokens,
            seed=seed,
            samples=samples,
            temperature=temperature,
            batch_size=batch_size,
        )
        results.append({**result, **found.facts})
        for sample in result["samples"]:
            say(f"[{sample['mode']}] {sample['prompt']}▸{sample['text']}")
    if page:
        write_page(page, results, lang)
        say(f"{page}: {len(models)} models side by side")
    if out or not page:
        _write(results[0] if len(results) == 1 else {"models": results}, out)


@app.command()
def run(
    model: Model,
    suite: Annotated[
        list[str] | None, typer.Option(help="core, knowledge, knowledge_whole or zh; may be repeated.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="One benchmark; may be repeated.")] = None,
    data_dir: Annotated[
        Path, typer.Option(help="Folder of the questions, as `eval download` writes it; nothing else is read.")
    ] = Path("evalsets"),
    out: Annotated[Path | None, typer.Option(help="The result file; default MODEL/eval/harness.json.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="First questions of each task; default: all.")] = None,
    batch_size: Annotated[str, typer.Option(help="A number, or auto: what fits on a GPU, 8 on a CPU.")] = "auto",
    lang: Annotated[str, typer.Option(help="Language of the table: en or zh.")] = "en",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check model and data, score nothing.")] = False,
) -> None:
    """Score a model by lm-eval on local files, beside chance and published scores of 1B models.

    What is done stays in the result file, so that the same command continues.
    """
    from eval.harness import Settings, find_data, run_benchmarks
    from eval.models import check_model, find_model
    from eval.score_table import table_lines
    from eval.suites import choose
    from megatron_recipe.console import say
    from megatron_recipe.languages import require_language

    require_language(lang)
    chosen = choose(suite or [], task or [])
    check_model(model)
    _check_places(out)
    if dry_run:
        for name, data in find_data(chosen, data_dir).items():
            say(f"would score {model} on {name}: {data.benchmark.shots}-shot, split {data.split} of {data.folder}")
        return
    found = find_model(model)
    file = out or found.home / "eval/harness.json"
    result = run_benchmarks(found, chosen, Settings(data_dir, batch_size, limit), file)
    for line in table_lines(result, [one.name for one in chosen], lang):
        typer.echo(line)
    say(f"{file}: all figures")


def _check_places(*places: Path | None) -> None:
    from megatron_recipe.files import require_place

    for place in places:
        if place:
            require_place(place)


def _loss_line(name: str, split: dict[str, Any]) -> str:
    bar = f", unigram {split['unigram_loss']:.3f}" if split["unigram_loss"] is not None else ""
    interval = split["loss_interval"]
    spread = f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
    return (
        f"{name}: held-out loss {split['loss']:.4f} nats per token{spread}{bar}, perplexity {split['perplexity']:.2f}, "
        f"{split['bits_per_byte']:.4f} bits per byte on {split['tokens']:,} tokens"
    )


def _write(result: dict[str, object], out: Path | None) -> None:
    if out is None:
        import json

        typer.echo(json.dumps(result, ensure_ascii=False, indent=1))
        return
    from megatron_recipe.files import write_json

    write_json(out, result)
