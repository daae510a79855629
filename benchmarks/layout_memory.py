"""What `megatron-recipe plan` says of the memory of each rank's layout, against ranks that share one card.

    python -m benchmarks.layout_memory --out OUT                       # an H100 or H200; all rows below, four minutes
    python -m benchmarks.layout_memory --out OUT --rows gpt_1b:2:1:parallel.pipeline=2,parallel.virtual_stages=2
    python -m benchmarks.layout_memory --out OUT --dry-run             # the plan's numbers alone, anywhere

A row is `RECIPE:RANKS:MICRO_BATCH:SETTINGS`: the recipe's model and optimizer in a bare loop, two steps of three
micro-batches for each stage of the pipeline, on random tokens. All ranks compute on the first GPU, as NCCL's ranks of
as many machines (one_card.py), so its memory must hold all of them; the speed says nothing. Shown is torch's peak on
the fullest rank beside the plan's number, and every rank's.

OUT/layout_memory.json is written after each row. Prints last `rows= worst_error=`; exit code 1 where a row failed.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.shared_process import Row, SharedProcess
from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.plan.hardware import GIB, profile
from megatron_recipe.recipes import load_config

VOCABULARY, STEPS, FOR_EACH_STAGE = 32_000, 2, 3
LEFT_OVER_GIB = 0.1
TENSOR = "parallel.tensor=2,parallel.sequence_parallel=true"
INTERLEAVED = "parallel.virtual_stages=2"
LONG = "model.sequence_length_tokens=16384"
ROWS = (
    "gpt_1b:2:2:",
    "gpt_1b:2:2:parallel.distributed_optimizer=false",
    f"gpt_1b:2:4:{TENSOR}",
    f"gpt_1b:2:2:parallel.pipeline=2,{INTERLEAVED}",
    f"gpt_1b:2:1:parallel.context=2,{LONG}",
    f"gpt_1b_fp8:2:2:parallel.pipeline=2,{INTERLEAVED}",
    f"gpt_3b:2:1:{TENSOR}",
    "gpt_3b:2:1:parallel.pipeline=2",
    "gpt_1b:4:1:parallel.pipeline=4",
    f"gpt_1b:4:1:parallel.pipeline=4,{INTERLEAVED}",
    f"gpt_1b:4:2:parallel.pipeline=2,{INTERLEAVED},{TENSOR}",
    f"gpt_1b:4:2:parallel.pipeline=2,{INTERLEAVED}",
    f"gpt_1b:4:2:{TENSOR},parallel.context=2",
    f"gpt_300m:8:4:parallel.pipeline=2,{INTERLEAVED},{TENSOR}",
    f"gpt_300m:8:4:parallel.pipeline=2,parallel.context=2,{TENSOR}",
)


@dataclass(frozen=True)
class Case:
    """A recipe in a layout."""

    name: str
    ranks: int
    config: Config

    @classmethod
    def read(cls, text: str) -> "Case":
        """From `RECIPE:RANKS:MICRO_BATCH:SETTINGS`, the settings with commas. Raises ConfigError."""
        parts = text.split(":")
        if len(parts) != 4 or not parts[1].isdigit() or not parts[2].isdigit():
            raise ConfigError(f"--rows {text}: write RECIPE:RANKS:MICRO_BATCH:SETTINGS, as {ROWS[3]}")
        recipe, ranks, micro_batch = parts[0], int(parts[1]), int(parts[2])
        own = [one for one in parts[3].split(",") if one]
        sets = (f"batch.micro_batch_size_samples={micro_batch}", "memory.recompute=none", *own)
        layout = load_config(recipe, sets).parallel
        data_ranks, left = divmod(ranks, layout.tensor * layout.pipeline * layout.context)
        if left or not data_ranks:
            raise ConfigError(f"--rows {text}: {ranks} ranks are no multiple of tensor × pipeline × context")
        samples = micro_batch * data_ranks * FOR_EACH_STAGE * layout.pipeline
        return cls(text, ranks, load_config(recipe, (*sets, f"batch.global_batch_size_samples={samples}")))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for layout_memory.json")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="RECIPE:RANKS:MICRO_BATCH:SETTINGS")
    parser.add_argument("--seconds", type=float, default=1800.0, help="for all rows")
    parser.add_argument("--row-seconds", type=float, default=120.0, help="for one, its share of the start included")
    parser.add_argument("--gpu", default="h100_80", help="whose kernels --dry-run plans for")
    parser.add_argument("--dry-run", action="store_true", help="print the plan's numbers and measure nothing")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Measure all rows, those of the fewest ranks first."""
    options = arguments()
    try:
        cases = {text: Case.read(text) for text in options.rows}
        if options.dry_run:
            return say_plan(list(cases.values()), options.gpu)
        import torch

        if not (options.worker or torch.cuda.is_available()):
            raise ConfigError(
                "memory is measured on a GPU, and none is visible here; --dry-run shows the plan's numbers"
            )
        if not options.worker:
            options.out.mkdir(parents=True, exist_ok=True)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.worker:
        return work(cases, Path(options.worker[0]), options.worker[1:])
    with (options.out / "layout_memory.log").open("wb") as log:
        process = SharedProcess(
            options.out / "layout_memory.json", options.seconds, options.row_seconds, line, log, key="name"
        )
        for ranks in sorted({case.ranks for case in cases.values()}):
            names = [case.name for case in cases.values() if case.ranks == ranks]
            if code := process.measure_or_say(names, partial(worker_command, ranks)):
                return code
    errors = [abs(row["planned"] / max(row["peaks"]) - 1) for row in process.rows if "error" not in row]
    print(f"rows={len(errors)} worst_error={max(errors, default=0):.3f}")
    return int(len(errors) < len(cases))


def worker_command(ranks: int, lines: Path, names: list[str]) -> list[str]:
    """The ranks that measure these rows and write a line of JSON for each."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    again = [*sys.argv[1:], "--worker", str(lines.absolute()), *names]
    return [sys.executable, *torchrun, "-m", "benchmarks.layout_memory", *again]


def line(row: Row) -> str:
    """A row in a line."""
    if "error" in row:
        return f"{row['name']}: {row['error']}"
    measured = max(row["peaks"])
    peaks = " ".join(f"{peak / GIB:.2f}" for peak in row["peaks"])
    return (
        f"{row['name']:75} plan {row['planned'] / GIB:6.2f} GiB  measured {measured / GIB:6.2f}  "
        f"ratio {row['planned'] / measured:.3f}  ranks {peaks}"
    )


def say_plan(cases: list[Case], card: str) -> int:
    """The plan's numbers for a card."""
    for case in cases:
        print(f"{case.name:75} plan {planned_bytes(case, profile(card).capability) / GIB:6.2f} GiB")
    return 0


def planned_bytes(case: Case, capability: tuple[int, int]) -> int:
    """What torch will have allocated on the fullest rank, by the plan, with the kernels that such a card gets."""
    from megatron_recipe.kernels import planned
    from megatron_recipe.plan.memory import estimate_memory

    config = planned(case.config, capability)
    return estimate_memory(config, VOCABULARY, case.ranks, config.batch.micro_batch, "none").allocated


def work(cases: dict[str, Case], lines: Path, names: list[str]) -> int:
    """Measure the named rows as one of their ranks; the first one writes them.

    A row that fails ends the process, and so does one that leaves memory behind, which the next would be charged with.
    """
    import torch
    import torch.distributed as dist

    from benchmarks.bare_loop import BareLoop
    from benchmarks.one_card import share_first_gpu
    from benchmarks.step_times import release
    from megatron_recipe import parallel
    from megatron_recipe.parent_death import die_with_parent

    die_with_parent()
    share_first_gpu()
    for name in names:
        case, found = cases[name], [(0, 0.0)] * cases[name].ranks
        with parallel.process_groups(case.config) as ranks:
            torch.cuda.reset_peak_memory_stats()
            loop = BareLoop(case.config, VOCABULARY, ranks.device)
            for _ in range(STEPS):
                loop.step()
            peak = torch.cuda.max_memory_allocated()
            del loop
            dist.all_gather_object(found, (peak, release(ranks.device)))
        peaks, held = zip(*found, strict=True)
        if os.environ["RANK"] == "0":
            planned = planned_bytes(case, torch.cuda.get_device_capability())
            row = {"name": name, "planned": planned, "peaks": peaks, "device": torch.cuda.get_device_name()}
            with lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if max(held) > LEFT_OVER_GIB:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
