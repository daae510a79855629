"""`convert to-hf` of a 1B and a 7B: seconds, peak memory, and bytes a second beside `cp` of the same files.

    python -m benchmarks.convert [--scratch FOLDER] [--models 1b 7b]

The checkpoints are made here, weight by weight in the trainer's own format (BF16, random values of a usual size), so
that no model is ever built whole; they hold weights alone, since an export reads nothing else of a checkpoint. 7B needs
30 GB of free disk. Every measurement is a process of its own, with the files out of the page cache before it:

* cp: `cp -r` of the checkpoint, until the copy is on the disk;
* convert: `convert to-hf --no-compare`, until the export is on the disk;
* with proof: `convert to-hf` as users run it, which also compares logits with Megatron-Core's, layer by layer.

Peak memory is the largest sum of the peaks (VmHWM) of the command's processes that lived at the same time. The last
line's seconds and memory are those with proof; cp_ratio is convert's seconds over cp's, for the larger model.
"""

import argparse
import inspect
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from math import prod
from pathlib import Path

import psutil
import torch
from torch import Tensor

from benchmarks.measure import ROOT, table
from checkpoints_tools.weight_map import ModelShape, megatron_shapes
from checkpoints_tools.weights_checkpoint import write_weights_checkpoint
from data_prep.manifest import write_manifest
from data_prep.tokenizers.load import load_reference
from data_prep.tokenizers.train import sample, train_bpe
from megatron_recipe.config import ModelConfig
from megatron_recipe.files import sha256_file
from megatron_recipe.recipes import load_config

VOCAB_SIZE = 32_000
POOL = 2**26
POLL_SECONDS = 0.05
GIB, GB = 2**30, 1e9
RECIPES = {"1b": "gpt_1b", "7b": "gpt_7b"}


@dataclass(frozen=True)
class Measured:
    """One process, from its start until its files are on the disk."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def main() -> None:
    """Make the checkpoints, measure, print the table and the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, help="folder for the files, emptied at the end; default: a new one")
    parser.add_argument("--models", nargs="+", choices=RECIPES, default=list(RECIPES))
    options = parser.parse_args()
    rows: list[list[str]] = []
    figures: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        require_room(Path(scratch), options.models)
        dataset = make_dataset(Path(scratch) / "dataset")
        for name in options.models:
            found = measure_model(name, Path(scratch), dataset)
            size = parameter_bytes(load_config(RECIPES[name]).model)
            rows += [row(f"{RECIPES[name]} {what}", one, size) for what, one in found.items()]
            proof = found["with proof"]
            figures |= {f"seconds_{name}": f"{proof.seconds:.1f}", f"peak_gib_{name}": f"{proof.peak_bytes / GIB:.2f}"}
            figures["cp_ratio"] = f"{found['convert'].seconds / found['cp'].seconds:.2f}"
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    print(f"{date.today().isoformat()}, {cpu or platform.machine()}, {os.cpu_count()} cores, load average {busy}")
    print(table(["", "wall s", "CPU s", "GB/s", "peak GiB"], rows))
    order = [*(f"{what}_{name}" for name in options.models for what in ("seconds", "peak_gib")), "cp_ratio"]
    print(" ".join(f"{name}={figures[name]}" for name in order))


def row(name: str, measured: Measured, size: int) -> list[str]:
    """For `table`."""
    return [
        name,
        f"{measured.seconds:.1f}",
        f"{measured.cpu_seconds:.1f}",
        f"{size / measured.seconds / GB:.2f}",
        f"{measured.peak_bytes / GIB:.2f}",
    ]


def measure_model(name: str, scratch: Path, dataset: Path) -> dict[str, Measured]:
    """Make one checkpoint and measure the three commands on it; removes what they wrote."""
    model = load_config(RECIPES[name]).model
    checkpoint, out = scratch / RECIPES[name], scratch / "out"
    print(f"making {checkpoint.name}, {parameter_bytes(model) / GB:.1f} GB", file=sys.stderr)
    make_checkpoint(checkpoint, model, dataset)
    export = [sys.executable, "-m", "megatron_recipe.cli", "convert", "to-hf", str(checkpoint), str(out)]
    export += ["--dataset", str(dataset)]
    commands = {
        "cp": ["cp", "-r", str(checkpoint), str(out)],
        "convert": [*export, "--no-compare"],
        "with proof": export,
    }
    found = {}
    for what, command in commands.items():
        forget(checkpoint)
        print(f"measuring {what}", file=sys.stderr)
        found[what] = measure(command, out)
        shutil.rmtree(out)
    shutil.rmtree(checkpoint)
    return found


def require_room(scratch: Path, models: list[str]) -> None:
    """End before anything is measured if the disk cannot hold the largest checkpoint and what is made of it."""
    needed = 2 * max(parameter_bytes(load_config(RECIPES[name]).model) for name in models) + GB
    if shutil.disk_usage(scratch).free < needed:
        sys.exit(f"{scratch}: {needed / GB:.0f} GB of free disk are needed; give another folder with --scratch")


def measure(command: list[str], out: Path) -> Measured:
    """Run a command until what it wrote into `out` is on the disk."""
    peak = 0
    began = time.perf_counter()
    before = os.times()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(peak_of(one) for one in family(process.pid)))
            time.sleep(POLL_SECONDS)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    forget(out)
    seconds, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(seconds, cpu, peak)


def family(pid: int) -> list[int]:
    """A process and those that it started."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def peak_of(pid: int) -> int:
    """Greatest resident memory that a process has had, in bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def forget(folder: Path) -> None:
    """Bring the files of a folder to the disk, and out of the page cache."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def parameter_bytes(model: ModelConfig) -> int:
    """Bytes of the weights in BF16."""
    return 2 * sum(prod(shape) for shape in megatron_shapes(ModelShape.of(model, VOCAB_SIZE)).values())


def make_checkpoint(folder: Path, model: ModelConfig, dataset: Path) -> None:
    """Write a checkpoint of random BF16 weights, one in memory at a time; the vocabulary needs no padding."""
    facts = {
        "format": "megatron-recipe/checkpoint/2",
        "vocab_size": VOCAB_SIZE,
        "model": model.model_dump(mode="json"),
        "data": {str(dataset): ""},
        **dict.fromkeys(("step", "samples", "tokens", "position"), 0),
    }
    write_weights_checkpoint(folder, random_weights(model), facts)


def random_weights(model: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    """Weights as at the beginning of a training, norms around 1: parts of one pool of random values."""
    generator = torch.Generator().manual_seed(1)
    pool = torch.empty(POOL, dtype=torch.bfloat16).normal_(std=model.init_std, generator=generator)
    for name, shape in megatron_shapes(ModelShape.of(model, VOCAB_SIZE)).items():
        start = int(torch.randint(POOL, (1,), generator=generator))
        count = prod(shape)
        weight = pool.roll(-start).repeat(-(-count // POOL))[:count].view(shape)
        yield name, weight + 1 if "norm" in name else weight


def make_dataset(folder: Path) -> Path:
    """A dataset folder as far as an export reads it: tokenizer, manifest, held-out text (Python's own sources)."""
    texts = [inspect.getsource(module) for module in (argparse, inspect, platform, shutil, subprocess, tempfile)]
    library = Path(inspect.__file__).parent
    more = [path.read_text(encoding="utf-8", errors="ignore") for path in sorted(library.rglob("*.py"))[:1500]]
    (folder / "tokenizer").mkdir(parents=True)
    file = folder / "tokenizer/tokenizer.model"
    file.write_bytes(train_bpe(sample(more, 6_000_000, 1), VOCAB_SIZE))
    tokenizer = load_reference(file)
    with (folder / "validation.jsonl").open("w", encoding="utf-8") as lines:
        for text in texts:
            lines.write(json.dumps({"text": text}) + "\n")
    split = {
        "documents": 1,
        "tokens": 1,
        "bytes": 1,
        "characters": 1,
        "dtype": "uint16",
        "sha256": {"bin": "", "idx": ""},
    }
    write_manifest(
        folder,
        {
            "tokenizer": {
                "kind": tokenizer.kind,
                "file": "tokenizer/tokenizer.model",
                "vocab_size": VOCAB_SIZE,
                "eod_id": tokenizer.eod_id,
                "sha256": sha256_file(file),
                "golden": tokenizer.golden(),
            },
            "splits": {"train": split, "validation": split},
            "counts": {"read": 2, "kept": 2, "dropped": {}},
            "sources": [],
            "settings": {},
        },
    )
    return folder


if __name__ == "__main__":
    main()
