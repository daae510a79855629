"""How a recipe is spread over the GPUs of one machine: each layout's speed, and what it keeps of one GPU's.

    python -m benchmarks.scaling --out OUT                       # every recipe and layout, on all GPUs that are here
    python -m benchmarks.scaling --out OUT --gpus 2 --recipes gpt_1b gpt_7b --layouts DP "TP 2" "PP 2"
    python -m benchmarks.scaling --out OUT --rows gpt_1b:alone gpt_1b:DP "gpt_7b:PP 2"
    python -m benchmarks.scaling --show OUT/scaling.json

Layouts are data parallel (DP; also with communication that waits, and with an optimizer that is not split) and, for
each power of two up to the number of GPUs, tensor (with sequence), pipeline (also interleaved) and context parallel;
what remains of the GPUs is data parallel. Context parallelism is measured on sequences of 16,384 tokens, beside data
parallelism on the same. A row is the recipe's model and optimizer in a bare loop on random tokens: `--tokens` a GPU in
each step, the micro-batch that the plan chooses for the layout, two steps to warm up, the median of `--steps` (4).
Memory is that of the fullest GPU. Efficiency is a GPU's speed over that of one GPU alone, on the same model and length.

All rows of one number of GPUs share their processes; one that fails says why, and the next goes on. After `--seconds`
none is begun. OUT/scaling.json is written after each row, OUT/scaling.log is what the processes said.

Prints last, for each recipe, the fastest layout that was measured at the recipe's own length: `recipe= precision=
gpus= layout= tokens_per_second_per_gpu= mfu_full= efficiency=`. Exit code 1 where a row failed.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.shared_process import Row, SharedProcess
from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.recipes import load_config

RECIPES = ("gpt_1b", "gpt_1b_fp8", "gpt_3b", "gpt_3b_fp8", "gpt_7b", "gpt_7b_fp8")
ALONE, ALONE_LONG, LONG = "alone", "alone, 16k", 16_384
IN_FLIGHT = 8
"""Micro-batches of a step for each stage of a pipeline: 6 % of idle time in theory."""
# tokens a GPU of a step, by the recipe's size: a second or two each
TOKENS = {"gpt_1b": 131_072, "gpt_3b": 65_536, "gpt_7b": 32_768}
WAITING = ("parallel.overlap_grad_reduce=false", "parallel.overlap_param_gather=false")


@dataclass(frozen=True)
class Case:
    """A recipe in a layout."""

    recipe: str
    layout: str
    overrides: tuple[str, ...]
    gpus: int
    is_long: bool

    @property
    def name(self) -> str:
        """As rows call it."""
        return f"{self.recipe} {self.layout}"

    def config(self, common: tuple[str, ...], tokens_per_gpu: int | None) -> Config:
        """The recipe in this layout, with the batch of a step; its micro-batch may be `auto`."""
        config = load_config(self.recipe, (*common, *self.overrides))
        size = next(
            (size for name, size in TOKENS.items() if f"{self.recipe}_".startswith(f"{name}_")), TOKENS["gpt_1b"]
        )
        samples = max(1, (tokens_per_gpu or size) // config.model.sequence_length_tokens) * self.gpus
        batch = [f"batch.global_batch_size_samples={samples}"]
        if config.parallel.pipeline > 1:  # the largest would leave stages idle that wait for their first or last one
            batch += [f"batch.micro_batch_size_samples={max(1, samples // (IN_FLIGHT * config.parallel.pipeline))}"]
        return load_config(self.recipe, (*batch, *self.overrides, *common))


def layouts(gpus: int) -> dict[str, tuple[str, ...]]:
    """Settings by the layout's name."""
    long = f"model.sequence_length_tokens={LONG}"
    found: dict[str, tuple[str, ...]] = {
        "DP": (),
        "DP, waiting": WAITING,
        "DP, whole optimizer": ("parallel.distributed_optimizer=false",),
    }
    sizes = [size for size in (2, 4, 8, 16, 32, 64) if size <= gpus and gpus % size == 0]
    for size in sizes:
        found[f"TP {size}"] = (f"parallel.tensor={size}", "parallel.sequence_parallel=true")
        found[f"PP {size}"] = (f"parallel.pipeline={size}",)
        found[f"PP {size}, interleaved"] = (f"parallel.pipeline={size}", "parallel.virtual_stages=2")
    found["DP, 16k"] = (long,)
    for size in sizes:
        found[f"CP {size}, 16k"] = (f"parallel.context={size}", long)
    return found


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a folder for scaling.json")
    parser.add_argument("--gpus", type=int, help="how many; by default all that are here")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--layouts", nargs="+", help="by default all of this number of GPUs, and each recipe alone")
    parser.add_argument("--rows", nargs="+", metavar="RECIPE:LAYOUT", help="just these, in this order")
    parser.add_argument("--set", dest="common", action="append", default=[], metavar="section.field=value")
    parser.add_argument("--tokens", type=int, help="a GPU in each step; by default by the recipe's size")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3600.0, help="for all rows")
    parser.add_argument("--row-seconds", type=float, default=120.0, help="for one, its share of the start included")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print the table of a file and measure nothing")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.out or options.show):
        parser.error("--out FOLDER says where the rows go")
    return options


def cases(options: argparse.Namespace, gpus: int) -> list[Case]:
    """All rows that were asked for, those of one GPU first. Raises ConfigError for an unknown layout or recipe."""
    spread = layouts(gpus)
    known = {ALONE: (), ALONE_LONG: spread["DP, 16k"], **spread}
    wanted = options.layouts or (list(known) if gpus > 1 else [ALONE, ALONE_LONG])
    rows = [row.partition(":")[::2] for row in options.rows or ()]
    rows = rows or [(recipe, layout) for recipe in options.recipes for layout in wanted]
    found = []
    for recipe, layout in rows:
        if layout not in known:
            raise ConfigError(f"layout {layout!r}: {gpus} GPUs have {', '.join(known)}")
        load_config(recipe, tuple(options.common))
        alone = layout in (ALONE, ALONE_LONG)
        found.append(Case(recipe, layout, known[layout], 1 if alone else gpus, layout.endswith("16k")))
    return sorted(found, key=lambda case: case.gpus)


def gpus_to_use(asked: int | None) -> int:
    """As many as asked for, else all; 1 on a CPU, where processes stand for GPUs. Raises ConfigError."""
    import torch

    here = torch.cuda.device_count()
    if asked is not None and (asked < 1 or (here and asked > here)):
        raise ConfigError(f"--gpus {asked}: {here} are visible here; use 1 to {max(here, 1)}, or leave it out for all")
    return asked or max(1, here)


def main() -> int:
    """Measure one GPU, then all."""
    options = arguments()
    try:
        if options.show:
            return say(json.loads(options.show.read_text(encoding="utf-8")))
        gpus = gpus_to_use(options.gpus)
        asked = cases(options, gpus)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.worker:
        from benchmarks.scaling_worker import work

        return work({case.name: case for case in asked}, options)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "scaling.log").open("wb") as log:
        process = SharedProcess(
            options.out / "scaling.json", options.seconds, options.row_seconds, line, log, key="name"
        )
        for processes in sorted({case.gpus for case in asked}):
            names = [case.name for case in asked if case.gpus == processes]
            if code := process.measure_or_say(names, partial(worker_command, processes, gpus)):
                return code
    return say(process.rows)


def worker_command(processes: int, gpus: int, lines: Path, names: list[str]) -> list[str]:
    """The processes that measure these rows and write a line of JSON for each."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    again = [*sys.argv[1:], "--gpus", str(gpus), "--worker", str(lines.absolute()), *names]
    return [sys.executable, *torchrun, "-m", "benchmarks.scaling", *again]


def line(row: Row) -> str:
    """A row in a line."""
    if "error" in row:
        return f"{row['name']:34} {row['error']}"
    mfu = f"MFU {row['mfu_full']:.1%}" if row["mfu_full"] else "MFU -"
    peak = f"{row['peak_gib']:.1f} GiB" if row["peak_gib"] else "-"
    return (
        f"{row['name']:34} {row['tokens_per_second_per_gpu']:>10,.0f} tokens/s/GPU  {mfu}  {peak}  micro-batch "
        f"{row['micro_batch']}  step {row['seconds']:.3f} s ±{row['spread'] / 2:.1%}  loss {row['loss']:.3f}"
    )


def efficiency(row: Row, rows: list[Row]) -> float | None:
    """A GPU's speed over that of one alone; None where that was not measured."""
    alone = [
        one["tokens_per_second_per_gpu"]
        for one in rows
        if one.get("gpus") == 1 and (one["recipe"], one["length"]) == (row["recipe"], row["length"])
    ]
    return row["tokens_per_second_per_gpu"] / alone[0] if alone else None


def say(rows: list[Row]) -> int:
    """The table, then each recipe's fastest layout; returns the exit code."""
    fine = [row for row in rows if "error" not in row]
    print("\n| recipe | layout | GPUs | tokens/s/GPU | MFU full / causal | GiB | micro-batch, recompute | efficiency |")
    print("|---|---|---|---|---|---|---|---|")
    for row in fine:
        kept = efficiency(row, rows)
        mfu = f"{row['mfu_full']:.1%} / {row['mfu_causal']:.1%}" if row["mfu_full"] else "-"
        print(
            f"| `{row['recipe']}` | {row['layout']} | {row['gpus']} | {row['tokens_per_second_per_gpu']:,.0f} | {mfu} "
            f"| {row['peak_gib'] or 0:.1f} | {row['micro_batch']}, {row['recompute']} "
            f"| {'-' if kept is None else f'{kept:.3f}'} |"
        )
    for row in rows:
        if "error" in row:
            print(f"{row['name']}: {row['error']}")
    print()
    spread = [row for row in fine if row["gpus"] > 1 and not row["is_long"]]
    for recipe in dict.fromkeys(row["recipe"] for row in spread):
        of_recipe = [row for row in spread if row["recipe"] == recipe]
        print(last_line(max(of_recipe, key=lambda row: float(row["tokens_per_second_per_gpu"])), rows))
    return int(len(fine) < len(rows))


def last_line(row: Row, rows: list[Row]) -> str:
    """A recipe's fastest layout, in the form that scripts read."""
    kept = efficiency(row, rows)
    values = {
        "recipe": row["recipe"],
        "precision": row["precision"],
        "gpus": row["gpus"],
        "layout": row["layout"].replace(" ", "_"),
        "tokens_per_second_per_gpu": f"{row['tokens_per_second_per_gpu']:.0f}",
        "mfu_full": "-" if row["mfu_full"] is None else f"{row['mfu_full']:.4f}",
        "efficiency": "-" if kept is None else f"{kept:.3f}",
    }
    return " ".join(f"{name}={value}" for name, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
