"""Cards are found by the names that CUDA reports, and the table holds together."""

import pytest

from megatron_recipe.errors import ConfigError
from megatron_recipe.plan.hardware import GIB, hardware_for, peak_tflops, profile, profiles, unknown_hardware


@pytest.mark.parametrize(
    ("reported", "gib", "name"),
    [
        ("NVIDIA H100 80GB HBM3", 79.1, "h100_80"),
        ("NVIDIA H100 PCIe", 79.1, "h100_pcie_80"),
        ("NVIDIA H100 NVL", 93.0, "h100_nvl_94"),
        ("NVIDIA H200", 139.8, "h200_141"),
        ("NVIDIA H20", 95.0, "h20_96"),
        ("NVIDIA H800", 79.1, "h800_80"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "a100_40"),
        ("NVIDIA A100-SXM4-80GB", 79.1, "a100_80"),
        ("NVIDIA A100 80GB PCIe", 79.1, "a100_80"),
        ("NVIDIA A100", 39.4, "a100_40"),
        ("NVIDIA A800-SXM4-80GB", 79.1, "a800_80"),
        ("NVIDIA L40S", 44.3, "l40s_48"),
        ("NVIDIA GeForce RTX 4090", 23.6, "4090_24"),
        ("NVIDIA GeForce RTX 4090 D", 23.6, "4090d_24"),
        ("Tesla V100-SXM2-32GB", 31.7, "v100_32"),
    ],
)
def test_a_card_is_known_by_what_cuda_reports(reported, gib, name):
    found = hardware_for(reported, int(gib * GIB))
    assert found is not None and found.name == name


def test_memory_and_capability_are_the_real_ones():
    found = hardware_for("NVIDIA H100 80GB HBM3", 40 * GIB, (8, 0))
    assert found is not None and found.memory_bytes == 40 * GIB and not found.has_fp8 and found.has_bf16
    assert hardware_for("NVIDIA GeForce GTX 1080", 8 * GIB) is None
    other = unknown_hardware("NVIDIA B200", 178 * GIB, (10, 0))
    assert other.has_fp8 and other.bf16_tflops == 0 and peak_tflops("NVIDIA B200") is None


def test_an_unknown_card_lists_the_known_and_suggests_one():
    with pytest.raises(ConfigError) as caught:
        profile("h100")
    assert "did you mean 'h100_80'?" in str(caught.value) and "4090_24" in str(caught.value)


@pytest.mark.parametrize("name", profiles())
def test_the_table_is_plausible(name):
    card = profile(name)
    box = int(name.rpartition("_")[2])
    assert 0.9 * box < card.memory_bytes / GIB < box
    assert bool(card.bf16_tflops) == card.has_bf16
    assert card.source
    for part in card.measured:
        assert 20 < part.mfu < 100
