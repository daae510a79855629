"""Messages of the FAQ about machines and services: installing, network, files, looking at runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from doc_pages import ROOT
from faq_scene import Scene, checked, on_card, refused, run_folder, says

from megatron_recipe.recipes import load_config

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
    scene.patch.setattr(software, "installed_gpus", lambda: [Gpu("NVIDIA A100-SXM4-80GB", "535.161.08")])
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


@says("fp8-on-old-card")
def fp8_on_old_card(scene: Scene) -> str:
    return on_card("gpt_1b_fp8", "a100_80")


@says("kernels-fail")
def kernels_fail(scene: Scene) -> str:
    from contextlib import nullcontext

    import torch

    from megatron_recipe import kernel_trial

    def fails(width: int) -> float:
        raise TypeError("epilogue fn depends on a ContextVar")

    scene.patch.setattr(kernel_trial, "is_installed", lambda package: True)
    scene.patch.setattr(kernel_trial, "fused_layer_error", fails)
    scene.patch.setattr(torch.cuda, "device", lambda index: nullcontext())
    scene.patch.delenv("RANK", raising=False)
    kernel_trial._part_works.cache_clear()
    assert not kernel_trial.runs_here("layer", load_config("gpt_1b"))
    kernel_trial._part_works.cache_clear()
    return scene.printed().strip()


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
