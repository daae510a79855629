"""Export a Megatron checkpoint as a Hugging Face folder that transformers, vLLM and lm-eval load.

Run: megatron-recipe convert to-hf RUN_OR_CHECKPOINT OUT
Weights go from file to file one at a time. The folder appears whole or not at all, and only after its logits and token
ids were found equal; config.json, without which nothing loads it, is written last.
"""

import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from checkpoints_tools.compare_logits import compare_with_reference
from checkpoints_tools.comparison_text import choose_text, default_token_count
from checkpoints_tools.export_plan import ExportPlan, plan_export
from checkpoints_tools.held_out import read_held_out
from checkpoints_tools.hf_tokenizer import convert_tokenizer, count_id_differences
from checkpoints_tools.megatron_checkpoint import verify_lists
from checkpoints_tools.megatron_logits import megatron_reference
from checkpoints_tools.model_card import model_card
from checkpoints_tools.safetensors_files import write_safetensors
from checkpoints_tools.weight_map import hf_shapes, hf_weights_of, rows
from megatron_recipe.console import progress, say
from megatron_recipe.errors import CheckpointError, ConfigError
from megatron_recipe.files import atomic_folder, disk_full, existing_part, json_if_whole, write_json

GIGABYTE = 10**9
SHARD_GIGABYTES = 5.0
EXPORT, GENERATION = "export.json", "generation_config.json"


def export_run(
    source: Path,
    out: Path,
    *,
    dataset: Path | None = None,
    dtype: str | None = None,
    max_shard_gigabytes: float = SHARD_GIGABYTES,
    compare: bool = True,
    text: Path | None = None,
    max_tokens: int | None = None,
) -> dict[str, Any]:
    """Export `source` into the folder `out`, and prove it.

    Args:
        dataset, dtype: see `plan_export`.
        text: a file to compare on; None takes the dataset's held-out text.
        max_tokens: to compare on; None takes what is compared in minutes.

    Returns:
        What export.json says.

    Raises:
        CheckpointError: what cannot be exported or exports wrong; then there is no folder.
        ConfigError: `out` is something else.
    """
    plan = plan_export(source, dataset, dtype)
    require_own_folder(out, plan.checkpoint)
    verify_lists(plan.checkpoint)
    needed = plan.parameters * plan.dtype.itemsize
    if shutil.disk_usage(existing_part(out)).free < needed:
        raise disk_full(out, needed)
    with atomic_folder(out) as folder:
        files = write_weights(plan, folder, int(max_shard_gigabytes * GIGABYTE))
        write_tokenizer(plan, folder)
        export: dict[str, Any] = {
            "source": str(plan.checkpoint),
            "step": plan.facts["step"],
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "dtype": plan.dtype_name,
            "files": files,
            "comparison": compare_or_raise(plan, folder, text, max_tokens) if compare else None,
            "tokenizer": prove_tokenizer(plan, folder),
        }
        write_json(folder / EXPORT, export)
        (folder / "README.md").write_text(model_card(plan, export, out.name), encoding="utf-8")
        if not (folder / GENERATION).is_file():  # an imported model brings its own
            special = {name: value for name, value in plan.special_ids.items() if value is not None}
            write_json(folder / GENERATION, {"_from_model_config": True, **special})
        write_json(folder / "config.json", plan.config)
        for file in folder.iterdir():
            file.chmod(0o644)
    return export


def require_own_folder(out: Path, checkpoint: Path) -> None:
    """An existing folder is replaced only if it is empty or an export of the same run. Raises ConfigError."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / EXPORT).is_file():
        raise ConfigError(f"{out} exists and is not an export (no {EXPORT}); choose another folder")
    there = json_if_whole(out / EXPORT)
    if "source" in there and run_name(Path(str(there["source"]))) != run_name(checkpoint):
        raise ConfigError(
            f"{out} is the export of another run, {there['source']}; choose another folder, or delete this one first"
        )


def run_name(checkpoint: Path) -> str:
    """What the run of a checkpoint is called, wherever it lies now; weights that have no run have their folder's."""
    return (checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint).absolute().name


def write_weights(plan: ExportPlan, folder: Path, max_shard_bytes: int) -> dict[str, str]:
    """Write the weights as safetensors, one in memory at a time. Returns {file: SHA-256}.

    Raises CheckpointError for a weight that cannot be read, is not finite or has no place in the model.
    """
    shapes = hf_shapes(plan.shape)
    total = sum(math.prod(shape) for shape in shapes.values()) * plan.dtype.itemsize
    with progress("exporting", total / 1e6, "MB") as advance:
        return write_safetensors(folder, shapes, plan.dtype, exported_weights(plan, advance), max_shard_bytes)


def exported_weights(plan: ExportPlan, advance: Callable[..., None]) -> Iterator[tuple[str, Tensor]]:
    """The Hugging Face weights in the order of `hf_shapes`; the next one is read while one is written."""
    shape = plan.shape
    table = rows(shape)
    for row, weight in zip(table, read_ahead(plan.reader.read, (row.megatron for row in table)), strict=True):
        for name, part in hf_weights_of(row, {row.megatron: weight}.__getitem__, shape).items():
            require_finite(name, part, plan.checkpoint)
            yield name, part.to(plan.dtype).contiguous()
            advance(part.numel() * plan.dtype.itemsize / 1e6)


def read_ahead(read: Callable[[str], Tensor], names: Iterable[str]) -> Iterator[Tensor]:
    """What `read` gives for each name, one ahead in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Tensor]] = deque()
        for name in names:
            waiting.append(pool.submit(read, name))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def require_finite(name: str, weight: Tensor, source: Path) -> None:
    """Raise CheckpointError for a NaN or an infinite value."""
    lowest, highest = weight.aminmax()  # both are NaN where one value is
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise CheckpointError(
            f"{source}: {name} holds NaN or infinite values: the training broke down before this step; "
            "take an older checkpoint"
        )


def write_tokenizer(plan: ExportPlan, folder: Path) -> None:
    """Write the tokenizer's Hugging Face files: converted from the dataset's, or copied from an imported model's."""
    if plan.tokenizer is None:
        return
    if plan.manifest is None:
        for file in plan.tokenizer.iterdir():
            shutil.copyfile(file, folder / file.name)
        return
    eod = plan.manifest["tokenizer"]["eod_id"]
    convert_tokenizer(plan.tokenizer, folder, eod_id=eod, max_length=plan.model.sequence_length_tokens)


def compare_or_raise(plan: ExportPlan, folder: Path, text: Path | None, max_tokens: int | None) -> dict[str, Any]:
    """The comparison of the written weights with the checkpoint. Raises CheckpointError where they differ."""
    chosen = choose_text(
        folder,
        text,
        plan.dataset,
        vocab_size=plan.shape.vocab_size,
        max_length=plan.model.sequence_length_tokens,
        max_tokens=max_tokens or default_token_count(plan.parameters, plan.shape.vocab_size),
    )
    count = sum(map(len, chosen.rows))
    say(f"comparing with Megatron's logits on {count:,} tokens: {chosen.origin} (FP32, CPU, layer by layer)")
    work = folder / ".compare"  # in the unfinished folder: a kill leaves it to the next export, which deletes it
    work.mkdir()
    reference = megatron_reference(plan.checkpoint, chosen.rows, work, rounded_to=plan.dtype)
    verdict = compare_with_reference(reference, folder, plan.config)
    shutil.rmtree(work)
    if not verdict["passed"]:
        raise CheckpointError(
            f"the export computes other logits than Megatron, from {verdict['first_differing_layer']} on: the largest "
            f"difference is {verdict['max_abs_difference']:.2g} (allowed {verdict['allowed_difference']:.1g}), the "
            f"best token agrees on {verdict['top1_agreement']:.2%}"
            + "".join(f"; {problem}" for problem in verdict["config_differences"])
            + "; nothing was written. --no-compare writes it for a closer look"
        )
    return {**verdict, "text": chosen.origin}


def prove_tokenizer(plan: ExportPlan, folder: Path) -> dict[str, Any] | None:
    """Compare token ids with SentencePiece's on the whole held-out text. Raises CheckpointError where they differ.

    Returns None for a tokenizer that was only copied.
    """
    if plan.dataset is None or plan.tokenizer is None:
        return None
    different, total = count_id_differences(
        plan.tokenizer, folder, (document.text for document in read_held_out(plan.dataset))
    )
    if different:
        raise CheckpointError(
            f"the exported tokenizer gives other ids than {plan.tokenizer} on {different} of {total} held-out "
            "documents; nothing was written. Please report it with the tokenizer.model"
        )
    return {"documents": total, "ids_equal": True}
