"""`megatron-recipe convert`: checkpoints to Hugging Face, and what is in them. Run: megatron-recipe convert --help"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Export checkpoints to Hugging Face, prove the export, look into a checkpoint.", no_args_is_help=True
)

NOT_EQUAL = 1

Source = Annotated[Path, typer.Argument(help="A run folder (its newest complete checkpoint) or a checkpoint folder.")]
Dataset = Annotated[
    Path | None,
    typer.Option(help="Dataset folder with the tokenizer and the held-out text; default: the run's first one."),
]


class Dtype(StrEnum):
    """Types that weights are exported in."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@app.command("to-hf")
def to_hf(
    source: Source,
    out: Annotated[Path, typer.Argument(help="The folder to write, exports/NAME say.")],
    dataset: Dataset = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Type of the weights; default: as in the checkpoint.")] = None,
    compare: Annotated[bool, typer.Option(help="Prove equal logits on held-out text.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would be written.")] = False,
) -> None:
    """Write safetensors, config, tokenizer and a model card that transformers, vLLM and lm-eval load."""
    from checkpoints_tools.to_hf import describe, export_run, plan_export, refuse_other_folder
    from megatron_recipe.console import say

    if dry_run:
        refuse_other_folder(out)
        for line in describe(plan_export(source, dataset, dtype), out):
            say(line)
        return
    export = export_run(source, out, dataset=dataset, dtype=dtype, compare=compare)
    say(f"{out}: step {export['step']}, {export['dtype']}; {_proof(export['comparison'])}")


@app.command("compare")
def compare_command(
    source: Source,
    export: Annotated[Path, typer.Argument(help="A folder that to-hf wrote.")],
    dataset: Dataset = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check both, say what would be compared.")] = False,
) -> None:
    """Compare logits of a checkpoint (Megatron, FP32, CPU) and of its export; exit code 1 if they differ."""
    from checkpoints_tools.compare_logits import compare_logits
    from checkpoints_tools.to_hf import exported_dtype, plan_export
    from megatron_recipe.console import say

    plan = plan_export(source, dataset)
    dtype = exported_dtype(export)
    if dry_run:
        say(f"would compare {plan.checkpoint} with {export} on the held-out text of {plan.dataset}")
        return
    verdict = compare_logits(plan.checkpoint, export, plan.dataset, dtype=dtype)
    for name, value in verdict.items():
        say(f"{name}: {value}")
    if not verdict["passed"]:
        raise typer.Exit(NOT_EQUAL)


@app.command("inspect")
def inspect_command(source: Source) -> None:
    """Print step, tokens and every tensor's shape, type and size. It only reads, so it has no --dry-run."""
    from checkpoints_tools.inspect_checkpoint import describe_checkpoint

    typer.echo("\n".join(describe_checkpoint(source)))


def _proof(comparison: dict[str, float] | None) -> str:
    if comparison is None:
        return "logits not compared"
    return (
        f"logits equal Megatron's on {comparison['tokens']:,} held-out tokens "
        f"(largest difference {comparison['max_abs_difference']:.1g}, top-1 {comparison['top1_agreement']:.0%}), "
        "token ids equal SentencePiece's"
    )
