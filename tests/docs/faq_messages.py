"""What makes the program say each message that docs/faq.md quotes: by the function that says it, never by its text."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doc_pages import ROOT

from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.errors import RecipeError
from megatron_recipe.recipes import load_config, write_config
from megatron_recipe.validation import check_config


@dataclass(frozen=True)
class Scene:
    """Where a message is said: an empty working folder, and what a test may change for the moment."""

    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    lang: str

    def printed(self) -> str:
        """What was printed since the last time, on both streams."""
        said = self.capture.readouterr()
        return said.out + said.err


Saying = Callable[[Scene], str]
SAID: dict[str, Saying] = {}
"""By the name that stands in the page's mark above the message."""


def says(name: str) -> Callable[[Saying], Saying]:
    """Register what says the message of this name."""

    def register(function: Saying) -> Saying:
        assert name not in SAID, name
        SAID[name] = function
        return function

    return register


class Caught:
    """The message of the error inside `refused()`."""

    message = ""


@contextmanager
def refused() -> Iterator[Caught]:
    """Take the RecipeError that the block must raise."""
    caught = Caught()
    with pytest.raises(RecipeError) as error:
        yield caught
    caught.message = str(error.value)


def dataset(name: str, tokens: int = 5_000_000, vocab_size: int = 4096, tokenizer: str = "aa") -> DatasetFacts:
    """A prepared dataset, as far as checks before a start look."""
    split = {"tokens": tokens, "sha256": {"bin": "cc", "idx": "dd"}}
    return DatasetFacts(Path(name), vocab_size, 1, tokenizer, {"train": split, "validation": split})


def checked(
    *overrides: str, recipe: str = "gpt_tiny_cpu", facts: list[DatasetFacts] | None = None, ranks: int = 1
) -> str:
    """What the checks before a start say of these settings."""
    with refused() as caught:
        config = load_config(recipe, overrides)
        check_config(config, facts or [dataset("datasets/demo")], ranks, on_cpu=True)
    return caught.message


def run_folder(name: str, *overrides: str) -> Path:
    """A run folder that has its configuration."""
    folder = Path("runs") / name
    write_config(load_config("gpt_tiny_cpu", overrides), folder / "config.yaml")
    return folder


# --- installation ---


def set_up(project: Path, python: str, **environment: str) -> str:
    """What `make setup`'s script says in a project that holds nothing else."""
    (project / "launch").mkdir(parents=True, exist_ok=True)
    (project / "launch/setup_env.sh").write_bytes((ROOT / "launch/setup_env.sh").read_bytes())
    done = subprocess.run(
        ["bash", "launch/setup_env.sh"],
        cwd=project,
        env={**os.environ, "PYTHON": python, "OWN_TORCH": "1", **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1, done
    return done.stderr.strip().splitlines()[-1]


@says("no-python")
def no_python(scene: Scene) -> str:
    tools = Path("tools")
    tools.mkdir()
    for tool in ("bash", "dirname", "uname", "ls", "sort"):
        found = subprocess.run(["bash", "-c", f"command -v {tool}"], capture_output=True, text=True).stdout.strip()
        (tools / tool).symlink_to(found)
    empty = str(Path("nothing").absolute())
    return set_up(Path("project"), "", PATH=str(tools.absolute()), HOME=empty, PYENV_ROOT=empty, CONDA_PREFIX=empty)


@says("pip-failed")
def pip_failed(scene: Scene) -> str:
    tools = Path("project/.venv/bin")
    tools.mkdir(parents=True)
    for tool in ("python", "pip"):
        (tools / tool).write_text("#!/bin/sh\nexit 1\n")
        (tools / tool).chmod(0o700)
    return set_up(Path("project"), sys.executable)


@says("old-driver")
def old_driver(scene: Scene) -> str:
    import torch

    from megatron_recipe.doctor import software
    from megatron_recipe.doctor.gpu import Gpu

    scene.patch.setattr(torch.version, "cuda", "13.0")
    scene.patch.setattr(torch.cuda, "is_available", lambda: False)
    scene.patch.setattr(software, "visible_gpus", lambda: [Gpu("NVIDIA A100-SXM4-80GB", "535.161.08")])
    return software.check_torch().fix


@says("other-apex")
def other_apex(scene: Scene) -> str:
    from megatron_recipe.doctor import software

    scene.patch.setattr(software.importlib.util, "find_spec", lambda name: True if name == "apex" else None)
    return software.check_apex().fix


@says("no-gpu-for-ranks")
def no_gpu_for_ranks(scene: Scene) -> str:
    import torch

    from megatron_recipe.launch import run_ranks

    scene.patch.setattr(torch.cuda, "is_available", lambda: False)
    with refused() as caught:
        run_ranks(["--standalone", "--nproc-per-node=gpu", "launch/pretrain_1b.sh"])
    return caught.message


@says("bf16-on-cpu")
def bf16_on_cpu(scene: Scene) -> str:
    return checked("precision.dtype=bf16")


def on_card(recipe: str, card: str, *overrides: str) -> str:
    from megatron_recipe.plan.hardware import profile
    from megatron_recipe.plan.resolve import resolve

    with refused() as caught:
        resolve(load_config(recipe, overrides), 32_000, profile(card), 1, recipe)
    return caught.message


@says("fp8-on-old-card")
def fp8_on_old_card(scene: Scene) -> str:
    return on_card("gpt_1b_fp8", "a100_80")


# --- mirrors, downloads, files ---


@says("no-hub")
def no_hub(scene: Scene) -> str:
    from megatron_recipe.doctor import network

    scene.patch.setattr(network, "answer_date", lambda address: None if address == network.HUB else 1.0)
    scene.patch.delenv("HF_ENDPOINT", raising=False)
    return network.check_hub().fix


@says("download-cut")
def download_cut(scene: Scene) -> str:
    from threading import Event

    from data_prep.download.patience import PassingError, Patience

    with refused() as caught:
        Patience().after(9, PassingError("no answer for 60 s"), "sample/10BT/000_00000.parquet", Event())
    return caught.message


@says("gated")
def gated(scene: Scene) -> str:
    from data_prep.download.huggingface import refusal

    request = SimpleNamespace(headers={})
    answer = SimpleNamespace(headers={"x-error-code": "GatedRepo"}, status_code=401, request=request)
    return str(refusal(answer, "https://huggingface.co", "bigcode/the-stack-dedup", "", "main"))


@says("not-utf8")
def not_utf8(scene: Scene) -> str:
    from data_prep.recipe import Source
    from data_prep.sources.local import LocalText, find_files

    Path("news.jsonl").write_bytes(json.dumps({"text": "新闻"}, ensure_ascii=False).encode("gb18030") + b"\n")
    files = find_files((Source(path=Path("news.jsonl")),))
    with refused() as caught:
        list(LocalText(files).run())
    return caught.message


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
    return str(give_up(Path("runs/gpt_1b"), Verdict("stop", "nan", float("nan")), 4120, tries, config))


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


def checkpoint_folder(**facts: Any) -> Path:
    """A checkpoint of the tiny recipe as far as it says what it is."""
    folder = Path("runs/mine/checkpoints/step_00000500")
    folder.mkdir(parents=True)
    model = load_config("gpt_tiny_cpu").model.model_dump(mode="json")
    marker = {"format": 1, "step": 500, "vocab_size": 4096, "model": model, **facts}
    (folder / "checkpoint.json").write_text(json.dumps(marker))
    return folder


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


# --- data and tokenizer ---


@says("no-dataset")
def no_dataset(scene: Scene) -> str:
    from data_prep.manifest import read_manifest

    with refused() as caught:
        read_manifest(Path("datasets/main"))
    return caught.message


@says("other-tokenizer")
def other_tokenizer(scene: Scene) -> str:
    facts = [dataset("datasets/en"), dataset("datasets/zh", tokenizer="bb")]
    return checked("data.datasets=datasets/en,datasets/zh", facts=facts)


@says("models-other-tokenizer")
def models_other_tokenizer(scene: Scene) -> str:
    from megatron_recipe import init_from

    folder = checkpoint_folder(tokenizer_sha256="bb")
    scene.patch.setattr(init_from, "marker_is_whole", lambda path: path == folder)
    config = load_config("gpt_tiny_cpu", ("train.init_from=runs/mine",))
    with refused() as caught:
        init_from.check_init_from(config, [dataset("datasets/demo")], Path("runs/new"))
    return caught.message


@says("vocabulary-too-large")
def vocabulary_too_large(scene: Scene) -> str:
    from data_prep.tokenizers.train import train_bpe

    with refused() as caught:
        train_bpe(["a few words of text", "and some more of them"], 64_000)
    return caught.message


@says("too-few-ids")
def too_few_ids(scene: Scene) -> str:
    return checked("model.vocab_size=2000")


@says("too-little-text")
def too_little_text(scene: Scene) -> str:
    return checked(facts=[dataset("datasets/demo", tokens=200)])


# --- configuration ---


@says("unknown-recipe")
def unknown_recipe(scene: Scene) -> str:
    return checked(recipe="gpt_1B")


@says("unknown-setting")
def unknown_setting(scene: Scene) -> str:
    return checked("train.step=100")


@says("wrong-value")
def wrong_value(scene: Scene) -> str:
    return checked("train.steps=0")


@says("wrong-set")
def wrong_set(scene: Scene) -> str:
    return checked("train.steps")


@says("batch-multiple")
def batch_multiple(scene: Scene) -> str:
    return checked("batch.global_batch_size_samples=20")


@says("processes")
def processes(scene: Scene) -> str:
    return checked("parallel.tensor=2", "parallel.distributed_optimizer=false")


@says("budget-form")
def budget_form(scene: Scene) -> str:
    from megatron_recipe.budget import parse_budget

    with refused() as caught:
        parse_budget("3000")
    return caught.message


# --- services ---


@says("no-wandb-key")
def no_wandb_key(scene: Scene) -> str:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        scene.patch.delenv(name, raising=False)
    scene.patch.setenv("NETRC", "no-such-file")
    return checked("logging.wandb=online")


@says("no-wandb-package")
def no_wandb_package(scene: Scene) -> str:
    from megatron_recipe.loggers import requirements

    scene.patch.setattr(requirements, "find_spec", lambda package: None)
    with refused() as caught:
        requirements.check_packages(load_config("gpt_tiny_cpu", ("logging.wandb=offline",)))
    return caught.message


@says("no-lm-eval")
def no_lm_eval(scene: Scene) -> str:
    from eval import harness

    scene.patch.setattr(harness, "find_spec", lambda package: None)
    with refused() as caught:
        harness.Harness(SimpleNamespace(), harness.Settings(Path("evalsets")))  # type: ignore[arg-type]
    return caught.message


@says("no-questions")
def no_questions(scene: Scene) -> str:
    from eval.local_data import LocalData
    from eval.suites import benchmarks

    with refused() as caught:
        LocalData(benchmarks()["hellaswag"], Path("evalsets"))
    return caught.message


@says("no-rclone-remote")
def no_rclone_remote(scene: Scene) -> str:
    from megatron_recipe.sync_store import NO_REMOTE, failed

    return str(failed("rclone", 1, f"Failed to create file system for oss:bucket: {NO_REMOTE}"))


@says("no-shut-down")
def no_shut_down(scene: Scene) -> str:
    from megatron_recipe.clouds import shut_down

    scene.patch.setattr(shut_down, "AUTODL_DISK", Path("none"))
    with refused() as caught:
        shut_down.check_shut_down(load_config("gpt_tiny_cpu", ("budget.at_end=stop",)).budget, {})
    return caught.message


@says("not-a-run")
def not_a_run(scene: Scene) -> str:
    from megatron_recipe.watch import watch_command

    with refused() as caught:
        watch_command(Path("runs/mine"), True, "en", 2.0)
    return caught.message


@says("other-reference")
def other_reference(scene: Scene) -> str:
    from megatron_recipe.watch import watch_command

    with refused() as caught:
        watch_command(run_folder("mine", "schedule.peak_learning_rate=0.04"), True, "en", 2.0, "gpt_tiny_cpu")
    return caught.message
