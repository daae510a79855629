"""The CPU backend never hides a GPU, and changes no number."""

import pytest
import torch

from megatron_recipe import cpu_backend
from megatron_recipe.errors import MachineError


def test_it_refuses_where_there_is_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA H100 80GB HBM3")
    before = dict(vars(torch.cuda))
    assert not cpu_backend.is_needed()
    with pytest.raises(MachineError, match=r"NVIDIA H100 80GB HBM3.*hide the GPU.*CUDA_VISIBLE_DEVICES="):
        cpu_backend.install()
    assert dict(vars(torch.cuda)) == before


def test_cuda_means_the_cpu_inside(megatron_groups):
    assert torch.cuda.current_device() == torch.device("cpu")
    for made in (
        torch.zeros(2, device="cuda"),
        torch.zeros(2, device=torch.device("cuda", 0)),
        torch.zeros(2).cuda(),
        torch.zeros(2).to("cuda:0"),
    ):
        assert made.device == torch.device("cpu")
    assert torch.zeros(2).type() == "torch.cuda.FloatTensor"
    assert torch.equal(torch.zeros(2).type(torch.int32), torch.zeros(2, dtype=torch.int32))
    assert torch.zeros(2, device="meta").device.type == "meta"


def test_installing_twice_is_installing_once(megatron_groups):
    from torch.overrides import _get_current_function_mode_stack

    def modes() -> int:
        return sum(isinstance(mode, cpu_backend.CudaMeansCpu) for mode in _get_current_function_mode_stack())

    assert modes() == 1
    cpu_backend.install()
    assert modes() == 1


def test_random_states_are_the_cpus(megatron_groups):
    state = torch.cuda.get_rng_state()
    first = torch.rand(3)
    torch.cuda.set_rng_state(state)
    assert torch.equal(torch.rand(3), first)
    torch.cuda.manual_seed(5)
    second = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), second)


def test_streams_have_nothing_to_wait_for(megatron_groups):
    stream, event = torch.cuda.Stream(), torch.cuda.Event()
    with torch.cuda.stream(stream):
        event.record()
    stream.wait_event(event)
    torch.cuda.synchronize()
    assert event.query() and torch.cuda.current_stream().query()
