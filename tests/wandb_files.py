"""Reads W&B's offline files, and metrics.jsonl in the same form."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megatron_recipe.files import read_jsonl
from megatron_recipe.loggers.records import numeric_fields


def log_blocks(data: bytes) -> Iterator[bytes]:
    """Records of a file in LevelDB's log format, as W&B writes it: 7 bytes of its own, then blocks of 32 KiB."""
    block = 32768
    position, parts = 7, b""
    while position + 7 <= len(data):
        left = block - position % block
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # full, last
            yield parts
            parts = b""


def wandb_records(file: Path) -> list[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    return [Record.FromString(record) for record in log_blocks(file.read_bytes())]


def wandb_history(run_dir: Path) -> list[dict[str, float]]:
    """What was logged, without W&B's own fields, over all pieces of the run."""
    rows = []
    for file in sorted(run_dir.glob("wandb/*run-*/*.wandb")):
        for record in wandb_records(file):
            if record.HasField("history"):
                items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                rows.append({name: value for name, value in items.items() if not name.startswith("_")})
    return rows


def logged_numbers(run_dir: Path) -> list[dict[str, float]]:
    """The same from metrics.jsonl."""
    return [
        {"step": record["step"], **numeric_fields(record.pop("kind"), record)}
        for record in read_jsonl(run_dir / "metrics.jsonl")
    ]
