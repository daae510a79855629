"""Where a step's time goes, by kernel class, for several settings side by side: to choose them, and to explain them.

    python -m benchmarks.step_profile --recipe gpt_1b --out profile.json \\
        --variant plain kernels.layer=engine --variant fused kernels.layer=fused,batch.micro_batch_size_samples=8 \\
        --variant fp8 recipe=gpt_1b_fp8 --variant litgpt peer=litgpt-bf16,batch.micro_batch_size_samples=8
    python -m benchmarks.step_profile --show profile.json        # the tables once more, anywhere

Each variant is the recipe's model, optimizer and schedule in a bare loop (random tokens, nothing logged): three steps
to warm up, five timed, one profiled, then everything is given back. Settings are `section.field=value,…`, also
`recipe=NAME`, `peer=NAME` (benchmarks/peers), `tiles=128x256` (of quack's products,
benchmarks/pinned_tiles.py) and `env.VARIABLE=value`; `-` is none. `--no-profile` times only.

Printed are a line a variant when it is done and, at the end, the time of a token by class with the costliest kernels of
each, so that a wrong classification shows. All variants share one process, since starting one takes half a minute; one
that fails says why, and the next goes on. One that exceeds `--variant-seconds`, takes the GPU down or leaves memory
behind costs a new process.
After `--seconds` all ends. OUT is written after each.

Exit code 1 where a variant failed.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.shared_process import Row, SharedProcess

WARM_UP, TIMED = 3, 5


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="gpt_1b")
    parser.add_argument("--variant", nargs=2, action="append", default=[], metavar=("NAME", "SETTINGS"))
    parser.add_argument("--set", dest="common", action="append", default=[], metavar="section.field=value")
    parser.add_argument("--samples", type=int, default=32, help="of a step")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--no-profile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("profile.json"))
    parser.add_argument("--seconds", type=float, default=540.0, help="for all variants")
    parser.add_argument("--variant-seconds", type=float, default=180.0, help="for one, its share of the start included")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print the tables of a file and measure nothing")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Start a process for the variants, and another one for what is left where it ends early."""
    options = arguments()
    if options.worker:
        from benchmarks.step_worker import work

        return work(options, options.worker)
    if options.show:
        show(json.loads(options.show.read_text(encoding="utf-8")))
        return 0
    names = [name for name, _ in options.variant] or ["recipe"]
    if len(set(names)) < len(names):
        sys.exit(f"--variant: a name stands there twice: {', '.join(names)}")
    process = SharedProcess(options.out, options.seconds, options.variant_seconds, line)
    if code := process.measure_or_say(names, worker_command):
        return code
    show(process.rows)
    return int(any("error" in row for row in process.rows))


def worker_command(lines: Path, names: list[str]) -> list[str]:
    """The process that measures these variants and writes a line of JSON for each."""
    return [sys.executable, "-m", "benchmarks.step_profile", *sys.argv[1:], "--worker", str(lines), *names]


def line(row: Row) -> str:
    """A variant in one line."""
    if "error" in row:
        return f"{row['variant']:24} {row['error']}"
    mfu = f"MFU {row['mfu_full']:.1%} full {row['mfu_causal']:.1%} causal" if row["mfu_full"] else "MFU -"
    peak = f"{row['peak_gib']:.1f} GiB" if row["peak_gib"] else "-"
    return (
        f"{row['variant']:24} {row['tokens_per_second']:>10,.0f} tokens/s  {mfu}  {peak}  micro-batch "
        f"{row['micro_batch']}  step {row['seconds']:.3f} s ±{row['spread'] / 2:.1%}  loss {row['loss']:.3f}"
    )


def show(rows: list[Row]) -> None:
    """The tables of what was profiled."""
    from benchmarks.kernel_times import StepKernels, class_table, top_kernels

    columns = {
        row["variant"]: (StepKernels(**row["kernels"]), 1e9 / row["tokens_per_second"])
        for row in rows
        if row.get("kernels")
    }
    if not columns:
        return
    for name, (kernels, _) in columns.items():
        print(f"\n{name}: the costliest kernels, a token\n{top_kernels(kernels)}")
    print(f"\n{class_table(columns)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
