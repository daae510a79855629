"""What each part of a layer takes, by each kernel that can compute it: which one `kernels:` should choose.

Run on a machine with a GPU and Transformer Engine (five minutes on an H100, more where quack times its tiles first):

    python -m benchmarks.kernels --out kernels.json
    python -m benchmarks.kernels --recipe gpt_3b --micro-batch 2 --only attention loss
    python -m benchmarks.kernels --recipe gpt_300m --only feed_forward --skip given across

Each line is the median of many calls on random values at the recipe's shapes, for one layer: microseconds, nanoseconds
a token and, for products and attention, TFLOP/s. A kernel that is not installed or fails says why, and the rest go on.
"""

import argparse
import gc
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernel_cases import PARTS, Case, Shape
from megatron_recipe.errors import in_short
from megatron_recipe.recipes import load_config


def microseconds(case: Case) -> float:
    """Median of the case's calls, after a warm-up in which kernels are compiled and tiles chosen."""
    from triton.testing import do_bench

    call = case.make()
    call()
    torch.cuda.synchronize()
    return float(do_bench(call, warmup=50, rep=300, return_mode="median")) * 1e3


def main() -> None:
    """Time all cases of the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="gpt_1b")
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--skip", nargs="+", default=[], metavar="WORD", help="kernels with it in their name")
    parser.add_argument("--out", type=Path, help="a JSON file of all numbers")
    options = parser.parse_args()
    shape = Shape(load_config(options.recipe).model, options.micro_batch)
    print(f"{options.recipe}, micro-batch {options.micro_batch}, {torch.cuda.get_device_name()}, BF16")
    results: list[dict[str, Any]] = []
    cases = [case for part in options.only for case in PARTS[part](shape)]
    for case in (case for case in cases if not any(word in case.kernel for word in options.skip)):
        result: dict[str, Any] = {"part": case.part, "kernel": case.kernel}
        try:
            time = microseconds(case)
        except Exception as error:  # the next kernel may be there
            result["error"] = in_short(error)
            print(f"{case.part:48} {case.kernel:20} {result['error']}", flush=True)
        else:
            result |= {"microseconds": time, "ns_per_token": time * 1e3 / shape.tokens}
            rate = f"{case.flops / time / 1e6:7.0f} TFLOP/s" if case.flops else ""
            print(f"{case.part:48} {case.kernel:20} {time:9.1f} µs {result['ns_per_token']:8.2f} ns {rate}", flush=True)
        results.append(result)
        gc.collect()
        torch.cuda.empty_cache()
        if options.out:
            options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
