"""Kill a run again and again, and damage its checkpoints: nothing may be lost, nothing damaged may be loaded.

    python -m benchmarks.faults [--kills 50] [--damage 30] [--dataset DIR] [--steps 200] [--seed 1] [--folder DIR]

Kills: a run on the CPU is killed (SIGKILL, half of them the whole process group) while it starts, while it trains and
in the middle of saves, and started again, until it has come to its end; the final weights, optimizer states and
schedule must be those of a run that nobody disturbed, to the last bit. A run that ends before all kills are used is
followed by another one.

Damage: a file of the newest checkpoint is cut, deleted, or one bit in it turned; the next start must say so, take the
one before it, and come to the same end.

Prints a line a kill and a case, and last ``kills= lost_steps= bitwise_equal= damaged= detected=``; `lost_steps` is the
largest number of steps that a kill took back. Exit code 1 where something was lost or not noticed.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SAVE_EVERY = 10
MODEL = (
    "model.num_layers=2",
    "model.hidden_size=64",
    "model.ffn_hidden_size=96",
    "model.num_heads=4",
    "model.num_kv_groups=2",
    "model.head_dim=16",
    "model.sequence_length_tokens=64",
    "batch.micro_batch_size_samples=8",
    "train.log_every_steps=1",
    "train.validate_every_steps=0",
    "train.validation_samples=16",
    f"checkpoint.save_every_steps={SAVE_EVERY}",
    "checkpoint.keep_last=3",
    "logging.tensorboard=false",
)
MOMENTS = ("starting", "training", "saving")


@dataclass
class Kills:
    """What the kills did."""

    count: int = 0
    in_saves: int = 0
    lost_steps: int = 0
    equal: list[bool] = field(default_factory=list)


def main() -> int:
    """Kill, damage, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--damage", type=int, default=30)
    parser.add_argument("--dataset", type=Path, help="A prepared dataset; default: one made of Python's own sources.")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("work/faults"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    dataset = arguments.dataset or make_dataset(arguments.folder)
    generator = random.Random(arguments.seed)
    whole = arguments.folder / "undisturbed"
    code = start(dataset, whole, arguments.steps).wait()
    if code:
        raise SystemExit(f"the undisturbed run ended with {code}: {log_of(whole)}")
    expected = final_state(whole)
    kills = kill_runs(arguments, dataset, expected, generator)
    damaged, detected = damage_runs(arguments, dataset, whole, expected, generator)
    equal = all(kills.equal)
    print(
        f"kills={kills.count} in_saves={kills.in_saves} lost_steps={kills.lost_steps} "
        f"bitwise_equal={str(equal).lower()} damaged={damaged} detected={detected}"
    )
    return 0 if equal and damaged == detected and kills.lost_steps <= 2 * SAVE_EVERY else 1


def make_dataset(folder: Path) -> Path:
    """A dataset of Python's own source files."""
    source, out = folder / "sources.jsonl", folder / "dataset"
    with source.open("w", encoding="utf-8") as file:
        for path in sorted(Path(os.__file__).parent.glob("*.py"))[:150]:
            file.write(json.dumps({"text": path.read_text(encoding="utf-8", errors="replace"), "id": path.name}) + "\n")
    command = [sys.executable, "-m", "megatron_recipe.cli", "data", "prepare", str(source), "--out", str(out)]
    options = ["--work", str(folder / "work"), "--vocab-size", "600"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return out


def start(dataset: Path, run: Path, steps: int, *more: str) -> subprocess.Popen[bytes]:
    """Start the trainer in a process group of its own; what it says goes to the end of RUN.log."""
    sets = [f"data.datasets={dataset}", f"train.steps={steps}", *MODEL, *more]
    options = [word for override in sets for word in ("--set", override)]
    command = [sys.executable, "-m", "megatron_recipe.cli", "train", "gpt_tiny_cpu", "--run-dir", str(run), *options]
    with run.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment())


def environment() -> dict[str, str]:
    """One thread, so that sums are added in one order, and no GPU."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def log_of(run: Path) -> str:
    """What a run has said."""
    return run.with_suffix(".log").read_text(encoding="utf-8", errors="replace")


def kill_runs(
    arguments: argparse.Namespace, dataset: Path, expected: dict[str, Any], generator: random.Random
) -> Kills:
    """Runs that are killed until all kills are used; the last one is then left to end."""
    kills = Kills()
    number = 0
    while kills.count < arguments.kills:
        number += 1
        run = arguments.folder / f"killed_{number}"
        while True:
            process = start(dataset, run, arguments.steps)
            if kills.count < arguments.kills and not wait_for_moment(process, run, kills, generator):
                before = last_step(run)
                group = generator.random() < 0.5
                os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
                process.wait()
                kills.count += 1
                lost = before - newest_step(run)
                kills.lost_steps = max(kills.lost_steps, lost)
                print(f"kill {kills.count}: run {number}, at step {before}, {lost} steps taken back", flush=True)
                continue
            if process.wait():
                raise SystemExit(f"{run} ended with {process.returncode}: {log_of(run)[-2000:]}")
            break
        kills.equal.append(same(final_state(run), expected))
        print(f"run {number} ended: bitwise_equal={str(kills.equal[-1]).lower()}", flush=True)
    return kills


def wait_for_moment(process: subprocess.Popen[bytes], run: Path, kills: Kills, generator: random.Random) -> bool:
    """Wait until it is time to kill; True if the run ended before.

    Few of the kills hit the start, since every life has one and would never come further.
    """
    moment = generator.choices(MOMENTS, weights=(1, 3, 4))[0]
    began, steps = time.monotonic(), last_step(run)
    delay = generator.uniform(0.0, 8.0)
    more_steps, in_save = generator.randint(1, 25), generator.uniform(0.0, 0.5)
    saves_to_see = generator.randint(1, 2)
    seen: set[str] = set()
    while process.poll() is None:
        if moment == "starting" and time.monotonic() - began > delay:
            return False
        if moment == "training" and last_step(run) >= steps + more_steps:
            return False
        if moment == "saving":
            seen |= {path.name for path in run.glob("checkpoints/.step_*.partial")}
            if len(seen) >= saves_to_see:
                time.sleep(in_save)
                kills.in_saves += any(run.glob("checkpoints/.step_*.partial"))
                return process.poll() is not None
        time.sleep(0.002)
    return True


def last_step(run: Path) -> int:
    """The last step that was recorded."""
    try:
        lines = (run / "metrics.jsonl").read_bytes().splitlines()
        steps = [json.loads(line)["step"] for line in lines[-3:] if line.endswith(b"}")]
    except (OSError, ValueError):
        return 0
    return max(steps, default=0)


def newest_step(run: Path) -> int:
    """The step of the newest complete checkpoint."""
    return max((int(path.parent.name[5:]) for path in run.glob("checkpoints/step_*/checkpoint.json")), default=0)


def final_state(run: Path) -> dict[str, Any]:
    """Everything in the newest checkpoint: tensors and plain values by their names."""
    import torch
    from torch.distributed.checkpoint import FileSystemReader, load
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    reader = FileSystemReader(run / f"checkpoints/step_{newest_step(run):08d}")
    state: dict[str, Any] = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        if isinstance(entry, TensorStorageMetadata)
        else None
        for name, entry in reader.read_metadata().state_dict_metadata.items()
    }
    load(state, storage_reader=reader, no_dist=True)
    (common,) = state["common_state/shard_0_1"]
    del common["run_state"]["seconds"]  # no run repeats it
    return state


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two states are equal to the last bit."""
    import torch

    tensors = {name for name, value in one.items() if isinstance(value, torch.Tensor)}
    return (
        one.keys() == other.keys()
        and all(torch.equal(one[name], other[name]) for name in tensors)
        and repr({name: one[name] for name in sorted(one.keys() - tensors)})
        == repr({name: other[name] for name in sorted(other.keys() - tensors)})
    )


def damage_runs(
    arguments: argparse.Namespace, dataset: Path, whole: Path, expected: dict[str, Any], generator: random.Random
) -> tuple[int, int]:
    """Cases of damage, and how many of them were noticed, gone around and trained over to the same end."""
    newest = newest_step(whole)
    files = sorted(path.name for path in (whole / f"checkpoints/step_{newest:08d}").iterdir())
    cases = [(name, how) for name in files for how in ("cut", "deleted", "bit turned")]
    cases += [(generator.choice(files), "bit turned") for _ in range(max(0, arguments.damage - len(cases)))]
    detected = 0
    for number, (name, how) in enumerate(cases[: arguments.damage], 1):
        run = arguments.folder / "damaged"
        shutil.rmtree(run, ignore_errors=True)
        run.with_suffix(".log").unlink(missing_ok=True)
        shutil.copytree(whole, run)
        damage(run / f"checkpoints/step_{newest:08d}/{name}", how, generator)
        code = start(dataset, run, arguments.steps).wait()
        log = log_of(run)
        incomplete = name == "checkpoint.json" and how == "deleted"  # as a save that was killed: nothing to warn of
        said = incomplete or f"warning: checkpoint step_{newest:08d}" in log
        older = f"after step {newest - SAVE_EVERY} " in log
        good = code == 0 and said and older and same(final_state(run), expected)
        detected += good
        print(f"damage {number}: {name} {how}: {'detected' if good else 'MISSED'}", flush=True)
        if not good:
            print(log[-2000:], flush=True)
    return min(arguments.damage, len(cases)), detected


def damage(path: Path, how: str, generator: random.Random) -> None:
    """Cut a file at a random place, delete it, or turn one bit of it."""
    content = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
        return
    if how == "cut":
        del content[generator.randrange(len(content)) :]
    else:
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
