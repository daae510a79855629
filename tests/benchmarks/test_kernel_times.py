"""Time by kernel class from a list of kernels."""

import pytest
import torch

from benchmarks.kernel_classes import GEMM, NORM, OTHER
from benchmarks.kernel_times import Kernel, busy_ns, class_table, profiled_kernels, sum_kernels, top_kernels

KERNELS = [
    Kernel("nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NNT", 0, 600),
    Kernel("rmsnorm_fwd_tuned_kernel", 500, 700),  # beside the product before it
    Kernel("nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NNT", 900, 1000),
    Kernel("a_kernel_of_nobody", 1000, 1010),
]


def test_intervals_that_overlap_count_once() -> None:
    assert busy_ns(KERNELS) == 700 + 110
    assert busy_ns(reversed(KERNELS)) == busy_ns(KERNELS)
    assert busy_ns([Kernel("a", 0, 100), Kernel("inside", 10, 20), Kernel("b", 50, 90)]) == 100
    assert busy_ns([]) == 0


def test_classes_are_sums_for_each_token() -> None:
    kernels = sum_kernels(KERNELS, tokens=10)
    assert (kernels.classes[GEMM], kernels.classes[NORM], kernels.classes[OTHER]) == pytest.approx((70, 20, 1))
    assert (kernels.busy, kernels.launches) == (81, 4)
    assert kernels.top[GEMM] == [{"name": KERNELS[0].name, "ns": 70, "launches": 2}]


def test_the_table_has_a_column_for_each_variant_and_the_time_without_a_kernel() -> None:
    kernels = sum_kernels(KERNELS, tokens=10)
    lines = class_table({"one": (kernels, 100.0), "two": (kernels, 162.0)}).splitlines()
    cells = {line.split(" | ")[0].strip("| "): [cell.strip(" |") for cell in line.split(" | ")[1:]] for line in lines}
    assert cells["ns a token"] == ["one", "two"]
    assert cells[GEMM] == ["70", "70"]
    assert cells["GPU idle"] == ["19 (19.0%)", "81 (50.0%)"]
    assert cells["step"] == ["100", "162"]


def test_the_costliest_kernels_are_named() -> None:
    text = top_kernels(sum_kernels(KERNELS, tokens=10))
    assert "70.0 ns       2 ×  nvjet_hsh" in text
    assert "a_kernel_of_nobody" in text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_kernels_of_a_gpu_are_those_that_it_ran() -> None:
    device = torch.device("cuda")
    left = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)

    def step() -> None:
        for _ in range(10):
            torch.mm(left, left)
        torch.nn.functional.silu(left)

    step()
    kernels = sum_kernels(profiled_kernels(step, device), tokens=1)
    products = 10 * 2 * 4096**3 / 989.4e12 * 1e9
    assert sum(one["launches"] for one in kernels.top[GEMM]) == 10
    assert products / 10 < kernels.classes[GEMM] < 20 * products  # an H100 at its peak, and other cards around it
    assert kernels.classes["SwiGLU"] > 0
    assert kernels.busy == pytest.approx(sum(kernels.classes.values()), rel=0.01)  # one behind the other
