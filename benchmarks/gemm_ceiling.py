"""What the card's matrix products reach at best: BF16, 8192³, random data. `python -m benchmarks.gemm_ceiling`

Zeros would be faster by a tenth: fewer bits that change take less power, and the clock stays higher. The last line is
JSON: `tflops` is the median of 50 products, each timed by itself.
"""

import itertools
import json
import statistics
import time
from collections.abc import Callable

import torch

SIDE, RUNS, WARM_UP = 8192, 50, 10
SMALL_SIDE = 512
"""Without a GPU: to try the way."""


def main() -> None:
    """Measure and print."""
    on_gpu = torch.cuda.is_available()
    device, side = (torch.device("cuda"), SIDE) if on_gpu else (torch.device("cpu"), SMALL_SIDE)
    dtype = torch.bfloat16 if on_gpu else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)

    def multiply() -> None:
        torch.mm(left, right, out=product)

    for _ in range(WARM_UP):
        multiply()
    seconds = gpu_seconds(multiply) if on_gpu else cpu_seconds(multiply)
    device_name = torch.cuda.get_device_name() if on_gpu else "cpu"
    report = {"device": device_name, "side": side, "tflops": 2 * side**3 / statistics.median(seconds) / 1e12}
    print(json.dumps(report))


def gpu_seconds(work: Callable[[], None]) -> list[float]:
    """By events on the GPU, one run behind the other, so that launches cost nothing."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(RUNS + 1)]
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) / 1e3 for before, after in itertools.pairwise(marks)]


def cpu_seconds(work: Callable[[], None]) -> list[float]:
    """By the clock."""
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
