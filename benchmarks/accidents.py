"""Plant a loss spike and a NaN in a run on the CPU: the guard rolls back, leaves out, and the run ends as without.

    python -m benchmarks.accidents [--dataset DIR] [--steps 240] [--folder work/accidents]

The spike is real: in a copy of the dataset, the tokens of some steps' samples are overwritten with random ones. The NaN
is made by the loss function of the planted run whenever a batch holds a sample that is one token repeated.

Runs: undisturbed, and for each accident with the guard as it is and with the guard off (`log`). Prints a table: the
final held-out loss, its distance from the undisturbed run's, rollbacks and samples left out. Exit code 1 where a
guarded run ends more than 1 % away.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.faults import MODEL, environment, make_dataset

SETTINGS = (
    *MODEL,
    "batch.global_batch_size_samples=16",
    "train.validation_samples=64",
    "checkpoint.save_every_steps=20",
    "stability.window_steps=32",
    "stability.skip_past_steps=4",
)
BATCH = 16
GUARD_OFF = ("stability.on_nan=log", "stability.on_loss_spike=log", "stability.on_grad_spike=log")
TOLERANCE = 0.01


def main() -> int:
    """Plant, run, compare."""
    if len(sys.argv) > 1 and sys.argv[1] == "train":
        return planted_train()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help="A prepared dataset; default: one made of Python's own sources.")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--folder", type=Path, default=Path("work/accidents"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    dataset = arguments.dataset or make_dataset(arguments.folder)
    middle = arguments.steps * 5 // 8
    spiked = plant(dataset, arguments.folder / "spiked", range(middle * BATCH, (middle + 3) * BATCH), repeated=False)
    poisoned = plant(dataset, arguments.folder / "poisoned", [middle * BATCH + 5], repeated=True)
    rows = [run("undisturbed", dataset, arguments)]
    for name, where in (("spike", spiked), ("NaN", poisoned)):
        rows.append(run(f"{name}, guarded", where, arguments))
        rows.append(run(f"{name}, guard off", where, arguments, *GUARD_OFF))
    return report(rows)


def plant(dataset: Path, copy: Path, positions: Iterable[int], *, repeated: bool) -> Path:
    """A copy of `dataset` whose samples at `positions` of the run's order are random tokens, or one token repeated."""
    import numpy as np

    from megatron_recipe.data import build_mix
    from megatron_recipe.recipes import load_config

    shutil.copytree(dataset, copy)
    config = load_config("gpt_tiny_cpu", (f"data.datasets={dataset}", *SETTINGS))
    data = build_mix(config, copy.with_name(f"{copy.name}_index"))
    (corpus,) = data.corpora
    starts = corpus.indexed.index.sequence_pointers
    tokens = np.memmap(copy / "train.bin", dtype=corpus.indexed.index.dtype, mode="r+")
    generator = np.random.default_rng(0)
    for position in positions:
        for part in corpus.parts(data.mix.locate(position)[1]):
            begin = int(starts[part.document]) // tokens.itemsize
            size = part.stop - part.first
            new = np.full(size, 7) if repeated else generator.integers(3, corpus.facts.vocab_size, size)
            tokens[begin + part.first : begin + part.stop] = new
    tokens.flush()
    return copy


def planted_train() -> int:
    """`megatron-recipe train …` with a loss that is NaN for a batch with a sample of one token repeated."""
    import torch

    from megatron_recipe import cli, forward_step

    masked_loss = forward_step.masked_loss
    step = forward_step.forward_step

    def poisoned_step(batches: Any, model: Any) -> Any:
        batch = next(batches)
        output, _ = step(iter([batch]), model)
        is_poison = bool((batch["tokens"] == batch["tokens"][:, :1]).all(dim=1).any())

        def loss(losses: torch.Tensor) -> Any:
            return masked_loss(batch["loss_mask"], losses * math.nan if is_poison else losses)

        return output, loss

    forward_step.forward_step = poisoned_step
    cli.main()
    return 0


def run(name: str, dataset: Path, arguments: argparse.Namespace, *more: str) -> dict[str, Any]:
    """One run to its end; what the table says of it."""
    folder = arguments.folder / name.replace(", ", "_").replace(" ", "_")
    sets = [f"data.datasets={dataset}", f"train.steps={arguments.steps}", *SETTINGS, *more]
    options = [word for override in sets for word in ("--set", override)]
    command = [sys.executable, "-m", "benchmarks.accidents", "train", "gpt_tiny_cpu", "--run-dir", str(folder)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment())
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rollbacks = [event for event in events if event["event"] == "rollback"]
    return {
        "run": name,
        "held_out": next(record["loss"] for record in reversed(losses) if record["kind"] == "validation"),
        "highest": max(r["loss"] for r in losses if r["kind"] == "train" and r["step"] > arguments.steps // 2),
        "rollbacks": len(rollbacks),
        "left_out": sum(event["skipped_stop"] - event["skipped_first"] for event in rollbacks),
        "guarded": "off" not in name,
    }


def report(rows: list[dict[str, Any]]) -> int:
    """The table, and whether every guarded run ended where it should."""
    expected = rows[0]["held_out"]
    print("run                 held-out loss  from undisturbed  highest loss after half  rollbacks  samples left out")
    good = True
    for row in rows:
        away = row["held_out"] / expected - 1
        print(
            f"{row['run']:<20}{row['held_out']:>12.4f}{away:>17.2%}{row['highest']:>24.2f}{row['rollbacks']:>12}"
            f"{row['left_out']:>18}"
        )
        good &= not row["guarded"] or abs(away) <= TOLERANCE
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
