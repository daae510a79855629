"""`megatron-recipe eval`: what an exported model is worth. Run: megatron-recipe eval --help"""

from pathlib import Path
from typing import Annotated

import typer

from eval.download import download

app = typer.Typer(help="Held-out loss and generated text of an exported model.", no_args_is_help=True)

Model = Annotated[Path, typer.Argument(help="A Hugging Face folder, exports/NAME say.")]
Out = Annotated[Path | None, typer.Option(help="JSON file to write; default: standard output.")]

app.command()(download)


@app.command()
def perplexity(
    model: Model,
    dataset: Annotated[Path, typer.Option(help="Dataset folder whose validation split is read.")],
    out: Out = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows of the model's sequence length at once.")] = 8,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="As many tokens at most, of random documents; default: all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check model and dataset, compute nothing.")] = False,
) -> None:
    """Loss, perplexity and bits per byte on held-out text, by source, beside the unigram bar."""
    from megatron_recipe.console import say

    if dry_run:
        from data_prep.manifest import read_manifest

        split = read_manifest(dataset)["splits"]["validation"]
        size = f"{split['documents']:,} documents, {split['tokens']:,} tokens"
        say(f"would evaluate {_checked(model)} on {size} of {dataset}")
        return
    from eval.perplexity import evaluate_perplexity

    result = evaluate_perplexity(model, dataset, batch_size=batch_size, max_tokens=max_tokens)
    split = result["splits"]["validation"]
    bar = f", unigram {split['unigram_loss']:.3f}" if split["unigram_loss"] is not None else ""
    say(
        f"held-out loss {split['loss']:.4f} nats per token{bar}, perplexity {split['perplexity']:.2f}, "
        f"{split['bits_per_byte']:.4f} bits per byte on {split['tokens']:,} tokens"
    )
    _write(result, out)


@app.command()
def generate(
    model: Model,
    prompt: Annotated[list[str] | None, typer.Option(help="Text to continue; may be repeated.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="JSONL file of prompts; default: eval/prompts.jsonl.")] = None,
    out: Out = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest continuation.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the sampled continuations.")] = 1234,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check model and prompts, generate nothing.")] = False,
) -> None:
    """Continue prompts, greedily and sampled."""
    from megatron_recipe.console import say
    from megatron_recipe.errors import ConfigError

    if prompt and prompts:
        raise ConfigError("--prompt and --prompts were both given; use one of them")
    from eval.prompts import PROMPTS_FILE, read_prompts

    texts = prompt or read_prompts(prompts or PROMPTS_FILE)
    if dry_run:
        say(f"would continue {len(texts)} prompts with {_checked(model)}, {max_new_tokens} tokens each at most")
        return
    from eval.generate import generate_samples

    result = generate_samples(model, texts, max_new_tokens=max_new_tokens, seed=seed)
    for sample in result["samples"]:
        say(f"[{sample['mode']}] {sample['prompt']}▸{sample['text']}")
    _write(result, out)


def _checked(model: Path) -> Path:
    """A folder that looks like an export, without loading torch."""
    from checkpoints_tools.hf_folder import require_file

    for name in ("config.json", "tokenizer.json"):
        require_file(model, name)
    return model


def _write(result: dict[str, object], out: Path | None) -> None:
    if out is None:
        import json

        typer.echo(json.dumps(result, ensure_ascii=False, indent=1))
        return
    from megatron_recipe.files import write_json

    write_json(out, result)
