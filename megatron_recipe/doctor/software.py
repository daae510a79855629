"""Python and the packages: there, whole, and fitting one another."""

import importlib.util
import platform
import sys
from pathlib import Path

from megatron_recipe.doctor.check import Check, judge, version_of
from megatron_recipe.doctor.gpu import installed_gpus
from megatron_recipe.kernels import FLASH_ATTENTION, HOPPER, QUACK

MEGATRON_CORE = "0.19.2"
# First driver branch that runs programs of a CUDA major version (CUDA release notes, table "minimum driver version").
MINIMUM_DRIVER = {"11": 450, "12": 525, "13": 580}


def check_python() -> Check:
    """The one version that all pinned packages have wheels for."""
    wrong = sys.version_info[:2] != (3, 12)
    return judge("Python", platform.python_version(), fail_if=wrong, fix="make setup finds or asks for Python 3.12")


def check_torch() -> Check:
    """torch, the CUDA that it was built for, and the driver."""
    import torch

    built_for = torch.version.cuda or ""
    found = f"{torch.__version__}, built for {'CUDA ' + built_for if built_for else 'the CPU'}"
    gpus = installed_gpus()
    if not gpus:
        return Check("torch", "ok", found)
    driver = gpus[0].driver
    found = f"{found}; driver {driver}"
    if torch.cuda.is_available():
        return Check("torch", "ok", found)
    needed = MINIMUM_DRIVER.get(built_for.split(".")[0])
    if not built_for:
        fix = "there is a GPU, and this torch is for CPUs alone: rm -rf .venv && make setup takes the one with CUDA"
    elif needed and int(driver.split(".")[0]) < needed:
        fix = (
            f"CUDA {built_for} needs driver {needed} or newer: rent a machine with one, or take an image with an older "
            "CUDA (docs/container.md)"
        )
    else:
        fix = (
            "the driver shows a GPU that torch cannot use: look at CUDA_VISIBLE_DEVICES and at `docker run --gpus all`"
        )
    return Check("torch", "fail", found, fix)


def check_torch_is_the_images() -> Check:
    """An image's own torch fits its driver and its Transformer Engine; one that was installed over it may not."""
    import torch

    note = Path(sys.prefix) / ".image_torch"
    image_torch = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    now = f"{torch.__version__} {torch.__file__}"
    if not image_torch:
        return Check("image's torch", "ok", "no torch came with this Python")
    fix = f"the image brought {image_torch.split()[0]}: rm -rf .venv && make setup keeps it"
    return judge("image's torch", now, fail_if=now != image_torch, fix=fix)


def check_cudnn() -> Check:
    """cuDNN, which torch and Transformer Engine must both take from the same place."""
    import torch

    if not torch.version.cuda:
        return Check("cuDNN", "ok", "none (a CPU needs none)")
    fix = (
        "an older cuDNN on the library path came first: let CUDNN_HOME and LD_LIBRARY_PATH lead to the nvidia-cudnn "
        "wheel's folder"
    )
    try:
        version = torch.backends.cudnn.version()
    except RuntimeError as error:  # torch refuses one older than that which it was built with
        return Check("cuDNN", "fail", " ".join(str(error).split())[:160], fix)
    shown = f"{version // 10000}.{version // 100 % 100}.{version % 100}" if version else "not found"
    wheel = next((v for v in map(version_of, ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")) if v), None)
    differs = wheel is not None and version is not None and not wheel.startswith(shown)
    found = f"{shown}, but the wheel's is {wheel}" if differs else shown
    return judge("cuDNN", found, fail_if=version is None, warn_if=differs, fix=fix)


def check_nccl() -> Check:
    """NCCL, which torch was built with or finds at run time."""
    import torch

    if not torch.version.cuda or not torch.distributed.is_nccl_available():
        return Check("NCCL", "ok", "none (a CPU uses gloo)")
    version = ".".join(map(str, torch.cuda.nccl.version()))
    wheel = next((v for v in map(version_of, ("nvidia-nccl-cu13", "nvidia-nccl-cu12")) if v), None)
    differs = wheel is not None and not wheel.startswith(version)
    fix = "two NCCLs: remove the one on LD_LIBRARY_PATH or LD_PRELOAD, all ranks must load the same"
    return judge("NCCL", f"{version}, but the wheel's is {wheel}" if differs else version, warn_if=differs, fix=fix)


def check_megatron_core() -> Check:
    """The one version that checkpoints and the CPU backend are written for."""
    version = version_of("megatron-core")
    if version is None:
        return Check("megatron-core", "fail", "not installed", "make setup")
    fix = f"checkpoints and the CPU backend are written for one version: pip install megatron-core=={MEGATRON_CORE}"
    return judge("megatron-core", version, fail_if=version != MEGATRON_CORE, fix=fix)


def check_dataset_helpers() -> Check:
    """The compiled index builder of Megatron's datasets."""
    # Found without importing megatron.core, which takes 5 s and more.
    spec = importlib.util.find_spec("megatron")
    roots = [Path(root) for root in spec.submodule_search_locations or []] if spec else []
    found = [file for root in roots for file in (root / "core/datasets").glob("helpers_cpp*.so")]
    fix = "this build of megatron-core came without its compiled index builder: install the wheel, not the source"
    return judge("dataset helpers", found[0].name if found else "helpers_cpp is missing", fail_if=not found, fix=fix)


def check_transformer_engine() -> Check:
    """Transformer Engine with its torch extension; without that `import megatron.core` raises."""
    version = version_of("transformer-engine")
    on_gpu = bool(installed_gpus())
    if version is None:
        fix = "FP8 and fused kernels need it: use the NGC PyTorch image, or pip install -e '.[gpu]' with nvcc present"
        found = "not installed" + ("" if on_gpu else " (a CPU needs none)")
        return judge("transformer-engine", found, warn_if=on_gpu, fix=fix)
    whole = version_of("transformer-engine-torch") or importlib.util.find_spec("transformer_engine_torch")
    fix = "its torch extension is missing: pip uninstall transformer-engine, or pip install -e '.[gpu]'"
    return judge("transformer-engine", version, fail_if=not whole, fix=fix)


def check_fast_kernels() -> Check:
    """The packages that `kernels:` takes by itself where the card can run them (docs/performance.md)."""
    import torch

    versions = {name: version_of(name) for name in (QUACK, FLASH_ATTENTION)}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    if not torch.cuda.is_available() or torch.cuda.get_device_capability(0) < HOPPER:
        return Check("fast kernels", "ok", f"{found} (for Hopper cards and newer)")
    fix = "6 % of the speed of a 1B in BF16: pip install -e '.[gpu]'"
    return judge("fast kernels", found, warn_if=None in versions.values(), fix=fix)


def check_apex() -> Check:
    """NVIDIA's apex, or none; PyPI has another project of that name."""
    if importlib.util.find_spec("apex") is None:
        return Check("apex", "ok", "not installed (transformer-engine does its part)")
    is_nvidias = importlib.util.find_spec("amp_C") or importlib.util.find_spec("fused_weight_gradient_mlp_cuda")
    fix = "this is PyPI's apex, another project than NVIDIA's: pip uninstall apex"
    return judge("apex", version_of("apex") or "installed", fail_if=not is_nvidias, fix=fix)


def check_data_packages() -> Check:
    """What text becomes a dataset with, and a checkpoint an export."""
    versions = {name: version_of(name) for name in ("datatrove", "sentencepiece", "transformers")}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    return judge("data and export", found, fail_if=None in versions.values(), fix="make setup")


SOFTWARE_CHECKS = (
    check_python,
    check_torch,
    check_torch_is_the_images,
    check_cudnn,
    check_nccl,
    check_megatron_core,
    check_dataset_helpers,
    check_transformer_engine,
    check_fast_kernels,
    check_apex,
    check_data_packages,
)
