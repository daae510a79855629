"""How fast our trainer is, beside its peers: the same shape, card, tokens a step and call, one after the other.

    python -m benchmarks.train --out OUT                                        # 1B, BF16 and FP8, and all peers
    python -m benchmarks.train --out OUT --recipes gpt_100m gpt_300m gpt_3b --peers litgpt-bf16 --data DATASET
    python -m benchmarks.train --out OUT --recipes gpt_1b --peers --bare

Ours is the real trainer as a user runs it (benchmarks/trainer_runs.py): data from DATASET through loader processes,
guard, logging. Without `--data` a dataset of made-up tokens is written. Peers and `--bare` (the same model and
optimizer without the trainer around them) are bare loops on random tokens. Peers take the faster of two micro-batches,
ours what the plan chooses (`auto`).

A time is the mean of `--interval` (5) steps, read or waited for at their end; the speed is that of the median of
`--steps` / `--interval` such times, after a first interval that is left out. `±` is half the distance from the fastest
to the slowest. Each row is a process of its own. MFU is against the card's dense BF16 peak, also for FP8; full counts
attention as if every token saw the whole sequence, causal the half that is computed. The ceiling is a product of
8192³ in BF16 on random data.

`--set section.field=value` is for ours and, as far as it is the model's shape or the optimizer, the peers. A row that
fails says why, and the next goes on; after `--seconds` none is begun. OUT/train.json is written after each row.

Prints last, for each recipe, `recipe= precision= tokens_per_second= mfu_full= mfu_causal= peak_gib= vs_litgpt=
vs_litgpt_mixed= vs_transformers= vs_torchtitan= vs_bare=`: vs_litgpt is against bf16-true, vs_transformers against the
faster of its two ways, a dash where there is nothing to compare with. Exit code 1 where a row failed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import child
from benchmarks.speed_rows import HEADING, Row, last_line, row_of, shape_of, text
from benchmarks.stand_in_dataset import write_stand_in
from benchmarks.trainer_runs import measure_trainer
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.errors import RecipeError
from megatron_recipe.recipes import load_config

PEERS = ("litgpt-bf16", "litgpt-mixed", "transformers", "transformers-whole", "torchtitan")
STAND_IN_VOCABULARY, STAND_IN_TOKENS = 32_000, 8_000_000
# by the recipe's size: samples of a step, a few seconds each, and the micro-batches that fill 80 GB for peers
SIZES = {
    "gpt_100m": (128, (32, 64)),
    "gpt_300m": (64, (16, 32)),
    "gpt_1b": (64, (4, 8)),
    "gpt_3b": (16, (1, 2)),
    "gpt_7b": (8, (1,)),
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for train.json")
    parser.add_argument("--recipes", nargs="+", default=["gpt_1b", "gpt_1b_fp8"])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--data", type=Path, help="a prepared dataset; its vocabulary is everyone's")
    parser.add_argument("--samples", type=int, help="of a step; by default 64 of 4096 tokens for the 1B")
    parser.add_argument("--micro-batches", type=int, nargs="+", help="that the peers try; by default by the size")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--interval", type=int, default=5, help="steps")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="section.field=value")
    parser.add_argument("--bare", action="store_true", help="also the bare loop of each recipe")
    parser.add_argument("--no-compile", action="store_true", help="peers without torch.compile, to try the way")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for all rows")
    parser.add_argument("--row-seconds", type=float, default=360.0, help="for one")
    options = parser.parse_args()
    if options.steps < options.interval or options.steps % options.interval:
        parser.error(
            f"--steps {options.steps}: must be a multiple of --interval {options.interval}; 25 and 5 are usual"
        )
    return options


def size_of(recipe: str) -> tuple[int, tuple[int, ...]] | None:
    """Of `gpt_1b`, and also of `gpt_1b_fp8`; None of a recipe of the user's own."""
    return next((size for name, size in SIZES.items() if f"{recipe}_".startswith(f"{name}_")), None)


class Benchmark:
    """The rows so far, and how to make the next one. folder: for runs, their checkpoints and logs."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.rows = options, list[Row]()
        self.end = time.monotonic() + options.seconds
        self.folder = folder
        options.out.mkdir(parents=True, exist_ok=True)
        self.data = options.data or write_stand_in(folder / "stand-in", STAND_IN_VOCABULARY, STAND_IN_TOKENS)
        self.vocab_size = read_dataset_facts(self.data).vocab_size
        self.device = "cpu"

    def add(self, name: str, recipe: str, measure: Callable[[float], dict[str, Any]]) -> Row:
        """Make a row by `measure`, which is told its seconds; write all rows, print this one."""
        began = time.monotonic()
        left = min(self.options.row_seconds, self.end - began)
        try:
            if left <= 0:
                raise child.Failed(f"not begun: the {self.options.seconds:.0f} s are over")
            measured = measure(left)
        except child.Failed as failure:
            measured = {"error": str(failure), "said": failure.said}
        config, samples = self.config(recipe), self.samples(recipe)
        row = row_of(name, recipe, measured, config, samples, self.vocab_size, self.device)
        row["took_seconds"] = round(time.monotonic() - began, 1)
        self.rows.append(row)
        (self.options.out / "train.json").write_text(json.dumps(self.rows, indent=1), encoding="utf-8")
        print(text(row), flush=True)
        return row

    def config(self, recipe: str) -> Config:
        """The recipe with the settings of this call."""
        return load_config(recipe, tuple(self.options.overrides))

    def samples(self, recipe: str) -> int:
        """Samples of a step."""
        known = size_of(recipe)
        default = known[0] if known else self.config(recipe).batch.global_batch_size_samples
        return int(self.options.samples or default)

    def overrides(self, recipe: str) -> list[str]:
        """Settings of a trainer's run."""
        batch = f"batch.global_batch_size_samples={self.samples(recipe)}"
        return [f"data.datasets={self.data.absolute()}", batch, *self.options.overrides]

    def ceiling(self) -> None:
        """The largest product's speed, and the card's name."""
        row = self.add("GEMM ceiling", self.options.recipes[0], lambda seconds: self.ask("gemm_ceiling", (), seconds))
        self.device = row.get("device", self.device)

    def trainer(self, recipe: str) -> None:
        """A row of the real trainer."""
        folder = self.folder / recipe
        shape = {"interval": self.options.interval, "steps": self.options.steps}
        asked = self.overrides(recipe)
        self.add("ours", recipe, lambda seconds: measure_trainer(recipe, asked, folder, seconds=seconds, **shape))

    def bare(self, recipe: str) -> None:
        """A row of the bare loop."""
        self.add("bare", recipe, lambda seconds: self.ask("bare_run", (recipe, *self.common(recipe)), seconds))

    def peer(self, peer: str, recipe: str) -> None:
        """A row of a peer, in the recipe's shape."""
        known = size_of(recipe)
        tried = self.options.micro_batches or (known[1] if known else (1, 2))
        asked = [peer, "--recipe", recipe, *self.common(recipe), "--micro-batches", *map(str, tried)]
        asked += ["--no-compile"] if self.options.no_compile else []
        self.add(peer, recipe, lambda seconds: self.ask("peers.run", asked, seconds))

    def common(self, recipe: str) -> list[str]:
        """Arguments of the bare loops, ours and the peers'."""
        asked = ["--vocab-size", self.vocab_size, "--samples", self.samples(recipe)]
        asked += ["--steps", self.options.interval, "--intervals", self.options.steps // self.options.interval]
        return [*map(str, asked), *(word for override in self.options.overrides for word in ("--set", override))]

    def ask(self, module: str, asked: Any, seconds: float) -> dict[str, Any]:
        """The report of one of the modules beside this one."""
        return child.last_json(["-m", f"benchmarks.{module}", *asked], self.folder / f"{module}.log", seconds)


def main() -> int:
    """Measure, and print the ratios."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        try:
            benchmark = Benchmark(options, Path(folder))
            shapes = recipes_by_shape(benchmark, options.recipes)
        except RecipeError as error:
            print(error, file=sys.stderr)
            return 2
        measure_all(benchmark, options, shapes)
    print()
    for row in benchmark.rows:
        if row["name"] == "ours" and "error" not in row:
            print(last_line(row, benchmark.rows))
    return int(any("error" in row for row in benchmark.rows))


def recipes_by_shape(benchmark: Benchmark, recipes: list[str]) -> list[list[str]]:
    """Recipes that differ in nothing that concerns a peer stand together. Raises ConfigError for an unknown one."""
    shapes: dict[str, list[str]] = {}
    for recipe in recipes:
        shapes.setdefault(shape_of(benchmark.config(recipe), benchmark.samples(recipe)), []).append(recipe)
    return list(shapes.values())


def measure_all(benchmark: Benchmark, options: argparse.Namespace, shapes: list[list[str]]) -> None:
    """All rows of a shape, then the next shape's; the ceiling before and after them."""
    print(HEADING, flush=True)
    benchmark.ceiling()
    for recipes in shapes:
        for recipe in recipes:
            benchmark.trainer(recipe)
        for peer in options.peers:
            benchmark.peer(peer, recipes[0])
        for recipe in recipes:
            if options.bare:
                benchmark.bare(recipe)
    benchmark.ceiling()


if __name__ == "__main__":
    sys.exit(main())
