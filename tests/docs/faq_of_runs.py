"""Messages of the FAQ about runs: disk and memory, accidents of training, stopping and continuing."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from doc_pages import ROOT
from faq_scene import Scene, checkpoint_folder, on_card, refused, run_folder, says

from megatron_recipe.recipes import load_config

# --- disk and memory ---


@says("disk-full")
def disk_full(scene: Scene) -> str:
    from megatron_recipe.files import full_disk_is_an_error

    with refused() as caught, full_disk_is_an_error(Path("runs/mine/checkpoints/step_00000500")):
        raise OSError(28, "No space left on device")
    return caught.message


@says("shared-memory")
def shared_memory(scene: Scene) -> str:
    from megatron_recipe.loader_workers import dead_workers_are_an_error

    with refused() as caught, dead_workers_are_an_error():
        raise RuntimeError("DataLoader worker (pid 4711) is killed by signal: Bus error. It is possible that …")
    return caught.message


@says("out-of-memory")
def out_of_memory(scene: Scene) -> str:
    import torch

    from megatron_recipe.out_of_memory import out_of_memory_is_an_error

    chosen = ("batch.micro_batch_size_samples=16", "memory.recompute=none")
    config = load_config("gpt_1b", chosen)
    with (
        refused() as caught,
        out_of_memory_is_an_error(config, 32_000, 1, Path("runs/mine"), card="h100_80", take_smaller=False),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.91 GiB. GPU 0 has a total capacity of …")
    return caught.message


@says("nothing-fits")
def nothing_fits(scene: Scene) -> str:
    return on_card("gpt_7b", "a100_80")


@says("killed-rank")
def killed_rank(scene: Scene) -> str:
    from megatron_recipe.launch import code_of

    code_of(5, SimpleNamespace(exitcode=-9, local_rank=5, pid=4711, signal_name=lambda: "SIGKILL"))
    return scene.printed()


@says("killed-in-lab")
def killed_in_lab(scene: Scene) -> str:
    from megatron_recipe.lab.run_states import note_end

    folder = run_folder("mine")
    return str(note_end(folder, -9, folder / "log.txt").reason)


# --- training goes wrong ---


@says("nan")
def nan(scene: Scene) -> str:
    from megatron_recipe.rollback import give_up
    from megatron_recipe.stability import Verdict

    config = load_config("gpt_1b")
    tries = [{"at_step": 4120, "from_step": 4000}, {"at_step": 4131, "from_step": 3500}]
    return str(give_up(Path("runs/gpt_1b"), Verdict("rollback", "nan", float("nan")), 4120, tries, config))


@says("low-mfu")
def low_mfu(scene: Scene) -> str:
    from megatron_recipe.diagnose.output import words_of

    words = words_of("low_mfu", scene.lang)
    return f"{words.title}\n{words.phenomenon}\n{words.causes}\n{words.checks}\n{words.remedies}"


# --- stopping and continuing ---


@says("ctrl-c")
def ctrl_c(scene: Scene) -> str:
    from megatron_recipe.preemption import StopRequest

    StopRequest(0.0, 0.0).receive(signal.SIGINT, None)
    return scene.printed()


@says("ctrl-c-elsewhere")
def ctrl_c_elsewhere(scene: Scene) -> str:
    from typer.testing import CliRunner

    from megatron_recipe import watch
    from megatron_recipe.cli import app

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    scene.patch.setattr(watch, "watch_command", interrupted)
    found = CliRunner().invoke(app, ["watch", "runs/mine"])
    assert found.exit_code == 130
    return found.output


@says("other-settings")
def other_settings(scene: Scene) -> str:
    from megatron_recipe.run_folder import check_same_run

    folder = run_folder("mine", "train.steps=450")
    changed = load_config("gpt_tiny_cpu", ("train.steps=900",))
    with refused() as caught:
        check_same_run(changed, folder, 1600, 1600, {})
    return caught.message


@says("folder-in-use")
def folder_in_use(scene: Scene) -> str:
    from megatron_recipe import run_folder as folders

    scene.patch.setattr(folders, "LOCK_PATIENCE_SECONDS", 0.0)
    scene.patch.delenv("RANK", raising=False)
    with (
        refused() as caught,
        folders.held_by_first_rank(Path("runs/mine")),
        folders.held_by_first_rank(Path("runs/mine")),
    ):
        pass
    return caught.message


@says("incomplete-checkpoint")
def incomplete_checkpoint(scene: Scene) -> str:
    from megatron_recipe.checkpoint import read_marker

    with refused() as caught:
        read_marker(Path("runs/mine"))
    return caught.message


@says("other-architecture")
def other_architecture(scene: Scene) -> str:
    from megatron_recipe.checkpoint import check_architecture

    with refused() as caught:
        check_architecture(checkpoint_folder(), load_config("gpt_tiny_cpu", ("model.num_layers=6",)), 4096)
    return caught.message


@says("dataset-made-anew")
def dataset_made_anew(scene: Scene) -> str:
    from megatron_recipe.checkpoint import check_data

    with refused() as caught:
        check_data(checkpoint_folder(data={"datasets/main": "aa"}), {"datasets/main": "bb"})
    return caught.message


@says("damaged-log")
def damaged_log(scene: Scene) -> str:
    from megatron_recipe.files import read_jsonl

    folder = run_folder("mine")
    (folder / "metrics.jsonl").write_text('{"kind": "train"\n{"kind": "train"}\n')
    with refused() as caught:
        read_jsonl(folder / "metrics.jsonl")
    return caught.message


HANGING = """
import sys, time
from pathlib import Path
from megatron_recipe.hang_watch import HangWatch
HangWatch(Path("runs/mine"), 3, 0.1).beat()
time.sleep(20)
"""


@says("hang")
def hang(scene: Scene) -> str:
    run_folder("mine")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done
    return done.stderr.replace("0.1 s", "600 s")  # nobody waits ten minutes for a test


@says("head-unknown")
def head_unknown(scene: Scene) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "launch/rendezvous.py", "no-such-host.invalid"], capture_output=True, text=True
    )
    assert done.returncode == 1, done
    return done.stderr
