"""Cards and what they can do, from hardware.yaml.

The table is read without pydantic and without torch, since `flops.peak_tflops` is asked at the start of every command.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from megatron_recipe.errors import ConfigError
from megatron_recipe.settings import suggestion

TABLE = Path(__file__).with_name("hardware.yaml")
GIB = 2**30
BF16_FROM, FP8_FROM, BLOCKWISE_FROM = (8, 0), (8, 9), (9, 0)


@dataclass(frozen=True)
class MeasuredMfu:
    """MFU of one run: `mfu` in % of the BF16 peak, attention counted in full."""

    parameters: float
    fp8: bool
    mfu: float


@dataclass(frozen=True)
class Hardware:
    """One kind of card."""

    name: str
    """As `plan --gpu` takes it."""
    card: str
    memory_bytes: int
    """What torch reports as the total."""
    capability: tuple[int, int]
    bf16_tflops: float
    """Dense peak; 0 where the card has no BF16."""
    source: str
    measured: tuple[MeasuredMfu, ...] = ()
    """On this card, or on one with the same chip."""

    @property
    def has_bf16(self) -> bool:
        """Whether its tensor cores multiply BF16."""
        return self.capability >= BF16_FROM

    @property
    def has_fp8(self) -> bool:
        """Whether its tensor cores multiply FP8."""
        return self.capability >= FP8_FROM


@cache
def profiles() -> dict[str, Hardware]:
    """All cards of the table by their names."""
    return {name: _hardware(name, values) for name, values in _table().items()}


def profile(name: str) -> Hardware:
    """The card of that name.

    Raises:
        ConfigError: there is none.
    """
    known = profiles()
    if name not in known:
        raise ConfigError(
            f"--gpu {name}: unknown card{suggestion(name, list(known))}; known: {', '.join(known)}; "
            f"others can be added to {TABLE.name}"
        )
    return known[name]


def hardware_for(device_name: str, memory_bytes: int, capability: tuple[int, int] | None = None) -> Hardware | None:
    """The card that CUDA reports under `device_name`, with its real memory; None where the table does not have it.

    Args:
        device_name: as `torch.cuda.get_device_name()` gives it.
        memory_bytes: what this process may use: `torch.cuda.get_device_properties().total_memory`, or a cap below it.
        capability: as `torch.cuda.get_device_capability()` gives it; by default the table's.
    """
    matches = _matches(device_name)
    if not matches:
        return None
    # one name can stand for two sizes (A100 of 40 and 80 GB where CUDA does not say): the nearest memory decides
    found = min(matches, key=lambda hardware: abs(hardware.memory_bytes - memory_bytes))
    return replace(found, memory_bytes=memory_bytes, capability=capability or found.capability)


def unknown_hardware(device_name: str, memory_bytes: int, capability: tuple[int, int]) -> Hardware:
    """A card that the table does not have: its memory and capability are known, its peak is not."""
    return Hardware(device_name, device_name, memory_bytes, capability, 0.0, "not in the table")


def peak_tflops(device_name: str) -> float | None:
    """Dense BF16 peak in TFLOP/s of the card that CUDA reports under this name; None where it is not known."""
    matches = _matches(device_name)
    return (matches[0].bf16_tflops or None) if matches else None


def _matches(device_name: str) -> list[Hardware]:
    """Cards whose reported name is part of this one, those of the longest such part."""
    found: dict[int, list[Hardware]] = {}
    for name, values in _table().items():
        lengths = [len(part) for part in values["reported_as"] if part in device_name]
        if lengths:
            found.setdefault(max(lengths), []).append(profiles()[name])
    return found[max(found)] if found else []


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return table


def _hardware(name: str, values: dict[str, Any]) -> Hardware:
    major, minor = str(values["capability"]).split(".")
    of_chip = _table()[values["same_chip_as"]].get("measured", []) if "same_chip_as" in values else []
    own = values.get("measured", [])
    known = {(row["parameters"], row["fp8"]) for row in own}
    measured = [*own, *(row for row in of_chip if (row["parameters"], row["fp8"]) not in known)]
    return Hardware(
        name=name,
        card=values["card"],
        memory_bytes=int(values["memory_gib"] * GIB),
        capability=(int(major), int(minor)),
        bf16_tflops=values["bf16_tflops"],
        source=values["source"],
        measured=tuple(MeasuredMfu(**row) for row in measured),
    )
