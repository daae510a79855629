"""`megatron-recipe convert`: checkpoints to Hugging Face, and what is in them. Run: megatron-recipe convert --help"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Convert checkpoints to Hugging Face, prove it, average them, look into them. There is no command for another "
    "number of GPUs: a checkpoint loads in any parallel layout as it is.",
    no_args_is_help=True,
)

NOT_EQUAL = 1
LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Has torch ask for memory in pages of 2 MB (c10/core/impl/alloc_cpu.cpp); of 4 KB they cost more than the reading."""

Source = Annotated[Path, typer.Argument(help="A run folder (its newest complete checkpoint) or a checkpoint folder.")]
Dataset = Annotated[
    Path | None,
    typer.Option(help="Dataset folder with the tokenizer and the held-out text; default: the run's first one."),
]
Text = Annotated[Path | None, typer.Option(help="UTF-8 text to compare on; default: the dataset's held-out text.")]
Tokens = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Tokens to compare on; default: up to 4096, fewer for larger models (256 for 1B, 64 for 7B), "
        "so that it takes minutes on two cores.",
    ),
]


class Dtype(StrEnum):
    """Types of weights and of arithmetic."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@app.command("to-hf")
def to_hf(
    source: Source,
    out: Annotated[Path, typer.Argument(help="The folder to write, exports/NAME say.")],
    dataset: Dataset = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Type of the weights; default: as in the checkpoint.")] = None,
    max_shard_gb: Annotated[float, typer.Option(min=0.001, help="Largest weight file in GB (1e9 bytes).")] = 5.0,
    compare: Annotated[bool, typer.Option(help="Prove equal logits before the folder appears.")] = True,
    text: Text = None,
    tokens: Tokens = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would be written.")] = False,
) -> None:
    """Write safetensors, config, tokenizer and a model card that transformers, vLLM and lm-eval load."""
    os.environ.setdefault(LARGE_PAGES, "1")
    from checkpoints_tools.export_plan import describe, plan_export
    from checkpoints_tools.to_hf import export_run, require_own_folder
    from megatron_recipe.console import say

    if dry_run:
        plan = plan_export(source, dataset, dtype)
        require_own_folder(out, plan.checkpoint)
        for line in describe(plan, out):
            say(line)
        return
    export = export_run(
        source,
        out,
        dataset=dataset,
        dtype=dtype,
        max_shard_gigabytes=max_shard_gb,
        compare=compare,
        text=text,
        max_tokens=tokens,
    )
    say(f"{out}: step {export['step']}, {export['dtype']}; {_proof(export)}")


@app.command("from-hf")
def from_hf(
    source: Annotated[Path, typer.Argument(help="The folder of a Hugging Face model: Llama, Qwen 2, Qwen 3, Mistral.")],
    out: Annotated[Path, typer.Argument(help="The folder to write, imports/NAME say.")],
    dtype: Annotated[Dtype | None, typer.Option(help="Type of the weights; default: as in the folder.")] = None,
    sequence_length: Annotated[
        int | None, typer.Option(min=2, help="Longest text the model will read; default: what its config.json says.")
    ] = None,
    compare: Annotated[bool, typer.Option(help="Prove equal logits before the folder appears.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would be written.")] = False,
) -> None:
    """Write a checkpoint that training begins with (train.init_from), with a recipe and the model's tokenizer."""
    from checkpoints_tools.from_hf import describe, import_hf, plan_import, refuse_other_folder
    from megatron_recipe.console import say

    plan = plan_import(source, dtype, sequence_length)
    if dry_run:
        refuse_other_folder(out)
        for line in describe(plan, out):
            say(line)
        return
    verdict = import_hf(plan, out, compare=compare)
    proof = "not compared" if verdict is None else f"equal to transformers' on {verdict['tokens']:,} tokens"
    say(f"{out}: logits {proof}; train it further with megatron-recipe train {out}/recipe.yaml --run-dir runs/NAME")


@app.command("compare")
def compare_command(
    source: Source,
    export: Annotated[Path, typer.Argument(help="The Hugging Face folder of the same model.")],
    dataset: Dataset = None,
    text: Text = None,
    tokens: Tokens = None,
    dtype: Annotated[
        Dtype, typer.Option(help="Type to compute in: float32 on the CPU, bfloat16 on a GPU where there is one.")
    ] = Dtype.float32,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check both, say what would be compared.")] = False,
) -> None:
    """Compare logits of a checkpoint (by Megatron) and of a Hugging Face folder (by transformers).

    Layer by layer from disk, so that a 7B takes 4 GiB. Exit code 0: equal; 1: different; 2: not to be compared.
    """
    from checkpoints_tools.compare_command import compare_folders, prepare_comparison
    from megatron_recipe.console import say

    comparison = prepare_comparison(source, export, dataset, text, tokens)
    if dry_run:
        say(f"would compare {comparison.checkpoint} with {export} on {comparison.text.origin}")
        return
    verdict = compare_folders(comparison, dtype)
    for name, value in verdict.items():
        typer.echo(f"{name}: {value}")
    if not verdict["passed"]:
        raise typer.Exit(NOT_EQUAL)


@app.command("inspect")
def inspect_command(
    source: Annotated[Path, typer.Argument(help="A run folder, a checkpoint folder or a Hugging Face folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, the optimizer's tensors too.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and check its checksum.")] = False,
) -> None:
    """Print step, tokens, config, files with checksums, and every tensor's shape, type and size.

    It only reads, so it has no --dry-run.
    """
    import json

    from checkpoints_tools.inspect_checkpoint import inspect, report_lines

    report = inspect(source, verify=verify)
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        typer.echo("\n".join(report_lines(report, verified=verify)))


@app.command("average")
def average_command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Argument(help="The checkpoint folder to write.")],
    last: Annotated[int, typer.Option(help="How many of the newest checkpoints.")],
    dtype: Annotated[Dtype | None, typer.Option(help="Type of the mean; default: as in the checkpoints.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which checkpoints would be averaged.")] = False,
) -> None:
    """Write the mean of a run's last checkpoints, as a checkpoint of weights that to-hf and training start from."""
    from checkpoints_tools.average import AVERAGED, average_run, last_checkpoints
    from megatron_recipe.console import say

    if dry_run:
        names = ", ".join(one.name for one in last_checkpoints(run, last))
        say(f"would write {out}, the mean of {names}")
        return
    facts = average_run(run, out, last, dtype)
    say(f"{out}: the mean of steps {', '.join(map(str, facts[AVERAGED]))}; export it with `convert to-hf {out} …`")


def _proof(export: dict[str, Any]) -> str:
    comparison = export["comparison"]
    ids = "" if export["tokenizer"] is None else ", token ids equal the training tokenizer's"
    if comparison is None:
        return f"logits not compared{ids}"
    return (
        f"logits equal Megatron's on {comparison['tokens']:,} tokens (largest difference "
        f"{comparison['max_abs_difference']:.1g}, top-1 {comparison['top1_agreement']:.0%}){ids}"
    )
