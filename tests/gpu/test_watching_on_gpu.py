"""On a GPU: NVML, the profiler with its memory snapshot, timing by events, histograms where the weights are."""

import time

import pytest
import torch

from megatron_recipe.gpu_monitor import GpuMonitor, gpu_of
from megatron_recipe.histograms import Histogram
from megatron_recipe.parallel import Ranks
from megatron_recipe.profile_trace import StepProfiler
from megatron_recipe.recipes import load_config
from megatron_recipe.stragglers import ForwardTimer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SIZE = 4096


def work(products: int) -> torch.Tensor:
    """Keep the GPU busy with `products` matrix products of 0.14 TFLOP."""
    result = torch.ones(SIZE, SIZE, device="cuda", dtype=torch.bfloat16)
    for _ in range(products):
        result = result @ result
    return result


def test_nvml_sees_the_gpu_that_torch_works_on():
    pytest.importorskip("pynvml")
    monitor = GpuMonitor(gpu_of(torch.device("cuda", 0)))
    before = monitor.read()
    held = torch.ones(1 << 30, device="cuda")  # 4.3 GB
    until = time.monotonic() + 2
    while time.monotonic() < until:
        work(50)
        torch.cuda.synchronize()
    after = monitor.read()
    assert after["gpu_memory_used_gb"] - before["gpu_memory_used_gb"] > 4
    assert after["gpu_utilisation_percent"] > 50
    assert after["gpu_power_watts"] > before["gpu_power_watts"]
    assert after["gpu_energy_joules"] > 100
    assert 20 < after["gpu_temperature_celsius"] < 100
    assert after["gpu_sm_clock_mhz"] > 500
    del held


def test_the_forward_pass_is_timed_on_the_gpu_and_not_by_its_launch():
    timer = ForwardTimer(torch.device("cuda", 0))
    work(5)
    torch.cuda.synchronize()
    forward = timer.timed(work)
    began = time.perf_counter()
    for _ in range(2):
        forward(400)
    launched = time.perf_counter() - began
    seconds = timer.take_seconds()
    whole = time.perf_counter() - began
    assert seconds is not None
    assert launched < seconds < whole


def test_a_profile_has_kernels_and_a_memory_snapshot(tmp_path):
    config = load_config("gpt_tiny_cpu", ("logging.profile_first_step=2", "logging.profile_last_step=3"))
    ranks = Ranks(rank=0, world_size=1, data_rank=0, data_size=1, device=torch.device("cuda", 0))
    profiler = StepProfiler(config, tmp_path, ranks)
    profiler.begin(0)
    for step in (1, 2, 3, 4):
        work(3)
        profiler.step(step)
    profiler.close()
    folder = tmp_path / "profile"
    assert (folder / "memory_rank0_steps_2_3.pickle").stat().st_size > 1000
    assert (folder / "trace_rank0_steps_2_3.json.gz").stat().st_size > 1000
    table = (folder / "top_rank0_steps_2_3.txt").read_text()
    assert "CUDA total" in table or "CUDA time total" in table


def test_histograms_of_large_weights_take_little_memory():
    weights = torch.randn(1 << 28, device="cuda", dtype=torch.bfloat16)  # 0.5 GB
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    histogram = Histogram()
    histogram.add(weights)
    facts = histogram.facts()
    assert facts is not None
    assert facts["num"] == weights.numel()
    assert facts["sum_squares"] / facts["num"] == pytest.approx(1.0, rel=0.01)
    assert torch.cuda.max_memory_allocated() - before < 300e6
