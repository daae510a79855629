"""What `megatron-recipe plan` says of memory, against what a GPU measures.

Run on a machine with a GPU and Transformer Engine (about five minutes on an H100):

    python -m benchmarks.plan_memory --out memory.json
    python -m benchmarks.plan_memory --dry-run          # the plan's numbers alone, anywhere
    python -m benchmarks.plan_memory --rows gpt_1b:8:none:32000 gpt_3b_fp8:2:full:32000

Each row is a process of its own: the model and its optimizer are built as a run builds them, and three steps of four
micro-batches are made on random tokens. The first of them also makes the optimizer's states. Shown are the peak that
torch allocated over all steps, beside the plan's number for it, and the speed of the last two steps.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megatron_recipe.config import Config
from megatron_recipe.plan.hardware import GIB
from megatron_recipe.plan.memory import estimate_memory
from megatron_recipe.recipes import load_config

ROOT = Path(__file__).resolve().parent.parent
STEPS, MICRO_BATCHES = 3, 4
ROW_SECONDS = 120


@dataclass(frozen=True)
class Row:
    """One setting to measure."""

    recipe: str
    micro_batch: int
    recompute: str = "none"
    vocab_size: int = 32_000

    @classmethod
    def read(cls, text: str) -> "Row":
        """From `recipe:micro_batch:recompute:vocab_size`."""
        recipe, micro_batch, recompute, vocab_size = text.split(":")
        return cls(recipe, int(micro_batch), recompute, int(vocab_size))

    def __str__(self) -> str:
        return f"{self.recipe}:{self.micro_batch}:{self.recompute}:{self.vocab_size}"

    def config(self) -> Config:
        """The recipe with this micro-batch and recompute, in steps of `MICRO_BATCHES` micro-batches."""
        return load_config(
            self.recipe,
            (
                f"batch.micro_batch_size_samples={self.micro_batch}",
                f"batch.global_batch_size_samples={self.micro_batch * MICRO_BATCHES}",
                f"memory.recompute={self.recompute}",
            ),
        )

    def planned(self) -> dict[str, int]:
        """Bytes of each part, and `allocated`, by the plan."""
        memory = estimate_memory(self.config(), self.vocab_size, 1, self.micro_batch, self.recompute)
        return {**memory.parts(), "allocated": memory.allocated}


ROWS = (
    Row("gpt_1b", 4),
    Row("gpt_1b", 8),
    Row("gpt_1b_fp8", 4),
    Row("gpt_1b_fp8", 8),
    Row("gpt_3b", 1),
    Row("gpt_3b", 2),
    Row("gpt_3b_fp8", 1),
    Row("gpt_3b_fp8", 2),
    Row("gpt_1b", 4, vocab_size=64_000),
    Row("gpt_1b", 8, "selective"),
    Row("gpt_1b", 8, "full"),
)


def measure(row: Row) -> dict[str, Any]:
    """Build, train `STEPS` steps, and read torch's counters. Runs in the row's own process."""
    import torch
    from megatron.core.pipeline_parallel import get_forward_backward_func

    from benchmarks.step_times import random_batches
    from megatron_recipe.forward_step import forward_step
    from megatron_recipe.model import build_model
    from megatron_recipe.optimizer import build_optimizer
    from megatron_recipe.parallel import process_groups

    config = row.config()
    length = config.model.sequence_length_tokens
    after_forward = []

    def noted_forward(batches: Any, model: Any) -> Any:
        """The trainer's own forward step; what lies between it and the backward pass is what the layers keep."""
        output = forward_step(batches, model)
        after_forward.append(torch.cuda.memory_allocated())
        return output

    with process_groups(config) as ranks:
        model = build_model(config, row.vocab_size, ranks.device)
        optimizer = build_optimizer(config, model)
        after_build = torch.cuda.memory_allocated()
        peaks, seconds = [], []
        for _ in range(STEPS):
            torch.cuda.synchronize()
            began = time.perf_counter()
            torch.cuda.reset_peak_memory_stats()
            for chunk in model:
                chunk.zero_grad_buffer()
            optimizer.zero_grad()
            get_forward_backward_func()(
                forward_step_func=noted_forward,
                data_iterator=random_batches(row.micro_batch, length, row.vocab_size, ranks.device),
                model=model,
                num_microbatches=MICRO_BATCHES,
                seq_length=length,
                micro_batch_size=row.micro_batch,
                forward_only=False,
            )
            in_passes = torch.cuda.max_memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            optimizer.step()
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
            peaks.append({"passes": in_passes, "optimizer": torch.cuda.max_memory_allocated()})
        return {
            "allocated": max(max(peak.values()) for peak in peaks),
            "reserved": torch.cuda.max_memory_reserved(),
            "after_build": after_build,
            "after_forward": max(after_forward),
            "between_steps": torch.cuda.memory_allocated(),
            "peaks_of_steps": peaks,
            "tokens_per_second": MICRO_BATCHES * row.micro_batch * length / min(seconds[1:]),
            "device": torch.cuda.get_device_name(),
            "total_memory": torch.cuda.get_device_properties(0).total_memory,
        }


def measure_apart(row: Row) -> dict[str, Any]:
    """`measure` in a process of its own, so that each row begins with an empty GPU; {"error": …} where it fails."""
    # by -m from the root, so that the package needs no installation
    command = [sys.executable, "-m", "benchmarks.plan_memory", "--measure", str(row)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ROW_SECONDS, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {ROW_SECONDS} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["nothing said"]
        return {
            "error": next((line for line in lines if "out of memory" in line), lines[-1])[:300],
            "stderr": lines[-30:],
        }
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def line(row: Row, measured: dict[str, Any] | None) -> str:
    """A row of the table."""
    planned = row.planned()["allocated"]
    begin = f"{row.recipe:13} {row.micro_batch:>3} {row.recompute:9} {row.vocab_size:>6} {planned / GIB:7.2f}"
    if measured is None:
        return begin
    if "error" in measured:
        return f"{begin}   {measured['error']}"
    return (
        f"{begin} {measured['allocated'] / GIB:9.2f} {planned / measured['allocated']:6.3f} "
        f"{measured['reserved'] / GIB:9.2f} {measured['tokens_per_second']:10,.0f}"
    )


HEADING = (
    f"{'recipe':13} {'mb':>3} {'recompute':9} {'vocab':>6} {'plan':>7} {'measured':>9} {'ratio':>6} {'reserved':>9} "
    f"{'tokens/s':>10}"
)


def main() -> None:
    """Measure all rows, or one (`--measure`, for the processes that this starts)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", type=Row.read, default=ROWS, metavar="RECIPE:MICRO:RECOMPUTE:VOCAB")
    parser.add_argument("--out", type=Path, help="a JSON file of all numbers")
    parser.add_argument("--dry-run", action="store_true", help="print the plan's numbers and measure nothing")
    parser.add_argument("--measure", type=Row.read, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    print(HEADING + "      (memory in GiB)", flush=True)
    results = []
    for row in options.rows:
        measured = None if options.dry_run else measure_apart(row)
        print(line(row, measured), flush=True)
        results.append({**asdict(row), "planned": row.planned(), "measured": measured})
        if options.out:  # after each row: a run that is cut off keeps what it has
            options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    worst = [
        abs(result["planned"]["allocated"] / result["measured"]["allocated"] - 1)
        for result in results
        if result["measured"] and "error" not in result["measured"]
    ]
    if worst:
        print(f"rows={len(worst)} worst_error={max(worst):.3f}")


if __name__ == "__main__":
    main()
