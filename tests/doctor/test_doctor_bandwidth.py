"""The all-reduce's figures. That ranks on two machines run it is shown by tests/cluster/netns.sh."""

import pytest

from megatron_recipe.doctor import bandwidth

TOPOLOGY = "      GPU0 GPU1\nGPU0   X   {link}\nGPU1  {link}  X\n"


def test_bus_bandwidth_does_not_depend_on_the_number_of_ranks() -> None:
    """A ring of n ranks sends 2 (n - 1) / n of the bytes over each link."""
    link = 100e9
    for ranks in (2, 4, 8):
        seconds = 2 * (ranks - 1) / ranks * 1e9 / link
        assert bandwidth.bus_bandwidth(1_000_000_000, seconds, ranks) == pytest.approx(100)


@pytest.mark.parametrize(
    ("on_gpus", "machines", "link", "floor"),
    [
        (True, 1, "NV18", bandwidth.NVLINK_FLOOR),
        (True, 1, "PHB", bandwidth.PCIE_FLOOR),
        (True, 2, "NV18", bandwidth.NETWORK_FLOOR),
        (False, 2, "", bandwidth.CPU_FLOOR),
    ],
)
def test_what_is_expected_follows_the_links(on_gpus: bool, machines: int, link: str, floor: float) -> None:
    assert bandwidth.floor_of(on_gpus, machines, TOPOLOGY.format(link=link)) == floor


def test_slow_links_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    bandwidth.say_result(256, 0.0013, 8, 1, bandwidth.NVLINK_FLOOR)
    said = capsys.readouterr().err
    assert "over 8 ranks on 1 machine: 1.3 ms" in said and "warning" not in said
    bandwidth.say_result(256, 0.1, 8, 1, bandwidth.NVLINK_FLOOR)
    said = capsys.readouterr().err
    assert "4.48 GB/s" in said and "below 100 GB/s" in said and "NCCL_DEBUG=INFO" in said
