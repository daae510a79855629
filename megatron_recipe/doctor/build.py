"""What an image must hold, looked at while it is built: no GPU, no network, no folder of a user's yet.

The last step of the Dockerfile runs it (`megatron-recipe doctor --build`); a failure ends the build.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from megatron_recipe.doctor import software
from megatron_recipe.doctor.check import Check, judge

IMPORT_SECONDS = 180.0
"""Cold, out of a fresh layer, torch and Megatron-Core take half a minute."""
WITHOUT_DRIVER = ("libcuda.so", "libnvidia-ml.so", "NVIDIA driver")
SECRETS = ("TOKEN", "PASSWORD", "SECRET", "API_KEY", "CREDENTIAL")
NO_SECRETS = ("TOKENIZERS_PARALLELISM",)
LAUNCH = Path(__file__).parents[2] / "launch"


def check_megatron_imports() -> Check:
    """Megatron-Core imports, with the Transformer Engine that is there; in a process of its own, since it may die."""
    code = "import megatron.core, megatron.core.models.gpt, megatron.core.dist_checkpointing"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return Check("Megatron imports", "fail", f"not within {IMPORT_SECONDS:g} s", "look at the disk of the builder")
    if done.returncode == 0:
        return Check("Megatron imports", "ok", "megatron.core, its GPT and its checkpoints")
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200]
    needs_driver = any(name in done.stderr for name in WITHOUT_DRIVER)
    fix = (
        "it asks for the driver, which a build has not: run the doctor in the image on a machine with a GPU"
        if needs_driver
        else "an incomplete transformer-engine makes it raise: install it whole, or not at all"
    )
    return judge("Megatron imports", last, fail_if=not needs_driver, warn_if=needs_driver, fix=fix)


def check_command_line() -> Check:
    """The command is on PATH, and its recipes are in the package."""
    done = subprocess.run(["megatron-recipe", "--help"], capture_output=True, text=True, timeout=60)
    from megatron_recipe.recipes import recipe_names

    recipes = recipe_names()
    fix = "the package was installed without its recipes: pip install -e . in the checkout"
    return judge("command", f"{len(recipes)} recipes", fail_if=done.returncode != 0 or not recipes, fix=fix)


def check_launch_files() -> Check:
    """The launch files lie beside the package and can be run."""
    files = sorted(LAUNCH.glob("pretrain_*.sh"))
    closed = [file.name for file in files if not os.access(file, os.X_OK)]
    found = f"{len(files)} in {LAUNCH}" + (f", not executable: {', '.join(closed)}" if closed else "")
    return judge("launch files", found, fail_if=not files or bool(closed), fix="COPY launch with its modes")


def check_monitoring() -> Check:
    """pynvml, which the trainer reads power, heat and memory errors of a GPU with."""
    there = importlib.util.find_spec("pynvml") is not None
    fix = "without it a run logs no power, heat or ECC: the extra `gpu` holds nvidia-ml-py"
    return judge("GPU monitor", "nvidia-ml-py" if there else "nvidia-ml-py is missing", warn_if=not there, fix=fix)


def check_no_secret() -> Check:
    """No key in the environment: what is set while an image is built stays in its layers for everyone."""
    names = [name for name in os.environ if any(word in name.upper() for word in SECRETS) and name not in NO_SECRETS]
    fix = f"give {' and '.join(sorted(names))} when the container starts, or with --secret: ENV and ARG stay in layers"
    return judge("no secret", ", ".join(sorted(names)) or "none in the environment", fail_if=bool(names), fix=fix)


BUILD_CHECKS = (
    *software.SOFTWARE_CHECKS,
    check_megatron_imports,
    check_command_line,
    check_launch_files,
    check_monitoring,
    check_no_secret,
)
