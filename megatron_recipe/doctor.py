"""What this machine has and lacks for the recipe, and the fix for each lack. Run: megatron-recipe doctor [--json]

Each check is one function that returns one Check; a check that raises is itself a failure, so one broken package does
not hide the others. Limits of a container (cgroup) count before those of its host.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "fail"]

MEGATRON_CORE = "0.19.2"
# First driver branch that runs programs of a CUDA major version (CUDA release notes, table "minimum driver version").
MINIMUM_DRIVER = {"11": 450, "12": 525, "13": 580}
WRITE_TEST_MB = 32


@dataclass(frozen=True)
class Check:
    """One row: what was looked at, what was found, and what to do about it (empty where all is well)."""

    name: str
    status: Status
    found: str
    fix: str = ""


def judge(name: str, found: str, *, fail_if: bool = False, warn_if: bool = False, fix: str = "") -> Check:
    """A Check whose fix shows only where there is something to fix."""
    status: Status = "fail" if fail_if else "warn" if warn_if else "ok"
    return Check(name, status, found, fix if status != "ok" else "")


def version_of(distribution: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def visible_gpus() -> list[tuple[str, str]]:
    """(name, driver version) of each GPU that the driver shows; empty without a driver."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    rows = [line.split(", ") for line in answer.stdout.splitlines() if ", " in line]
    return [(row[0], row[1]) for row in rows] if answer.returncode == 0 else []


def check_python() -> Check:
    wrong = sys.version_info[:2] != (3, 12)
    return judge("Python", platform.python_version(), fail_if=wrong, fix="make setup finds or asks for Python 3.12")


def check_torch() -> Check:
    import torch

    built_for = torch.version.cuda or ""
    found = f"{torch.__version__}, built for {'CUDA ' + built_for if built_for else 'the CPU'}"
    gpus = visible_gpus()
    if not gpus or torch.cuda.is_available():
        return Check("torch", "ok", found)
    driver = gpus[0][1]
    needed = MINIMUM_DRIVER.get(built_for.split(".")[0])
    if needed and int(driver.split(".")[0]) < needed:
        fix = (
            f"CUDA {built_for} needs driver {needed} or newer: rent a machine with one, or an image with an older CUDA"
        )
    else:
        fix = (
            "the driver shows a GPU that torch cannot use: look at CUDA_VISIBLE_DEVICES and at `docker run --gpus all`"
        )
    return Check("torch", "fail", f"{found}; driver {driver}", fix)


def check_torch_is_the_images() -> Check:
    import torch

    note = Path(sys.prefix) / ".image_torch"
    image_torch = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    now = f"{torch.__version__} {torch.__file__}"
    if not image_torch:
        return Check("image's torch", "ok", "no torch came with this Python")
    fix = f"the image brought {image_torch.split()[0]}: rm -rf .venv && make setup keeps it"
    return judge("image's torch", now, fail_if=now != image_torch, fix=fix)


def check_device() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("device", "ok", "CPU: the demo and the lab run here; 100M parameters and more need a GPU")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    found = f"{len(names)} × {names[0]}, {memory:.0f} GiB"
    too_old = torch.cuda.get_device_capability(0) < (8, 0)
    return judge("device", found, warn_if=too_old, fix="BF16 needs an A100 or newer: use precision fp16")


def check_megatron_core() -> Check:
    version = version_of("megatron-core")
    if version is None:
        return Check("megatron-core", "fail", "not installed", "make setup")
    fix = f"checkpoints and the CPU backend are written for one version: pip install megatron-core=={MEGATRON_CORE}"
    return judge("megatron-core", version, fail_if=version != MEGATRON_CORE, fix=fix)


def check_dataset_helpers() -> Check:
    # Found without importing megatron.core, which takes 5 s and more.
    spec = importlib.util.find_spec("megatron")
    roots = [Path(root) for root in spec.submodule_search_locations or []] if spec else []
    found = [file for root in roots for file in (root / "core/datasets").glob("helpers_cpp*.so")]
    fix = "this build of megatron-core came without its compiled index builder: install the wheel, not the source"
    return judge("dataset helpers", found[0].name if found else "helpers_cpp is missing", fail_if=not found, fix=fix)


def check_transformer_engine() -> Check:
    version = version_of("transformer-engine")
    on_gpu = bool(visible_gpus())
    if version is None:
        fix = "FP8 and fused kernels need it: use the NGC PyTorch image, or pip install -e '.[gpu]' with nvcc present"
        return judge(
            "transformer-engine", "not installed" + ("" if on_gpu else " (a CPU needs none)"), warn_if=on_gpu, fix=fix
        )
    # A package without its torch extension makes `import megatron.core` raise.
    whole = version_of("transformer-engine-torch") or importlib.util.find_spec("transformer_engine_torch")
    fix = "its torch extension is missing: pip uninstall transformer-engine, or pip install -e '.[gpu]'"
    return judge("transformer-engine", version, fail_if=not whole, fix=fix)


def check_apex() -> Check:
    if importlib.util.find_spec("apex") is None:
        return Check("apex", "ok", "not installed (transformer-engine does its part)")
    is_nvidias = importlib.util.find_spec("amp_C") or importlib.util.find_spec("fused_weight_gradient_mlp_cuda")
    fix = "this is PyPI's apex, another project than NVIDIA's: pip uninstall apex"
    return judge("apex", version_of("apex") or "installed", fail_if=not is_nvidias, fix=fix)


def check_data_packages() -> Check:
    versions = {name: version_of(name) for name in ("datatrove", "sentencepiece", "transformers")}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    return judge("data and export", found, fail_if=None in versions.values(), fix="make setup")


def cgroup_value(*files: str) -> str:
    """First word of the first of these files below /sys/fs/cgroup that exists; "" without one or without a limit."""
    for file in files:
        path = Path("/sys/fs/cgroup") / file
        if path.is_file():
            text = path.read_text(encoding="utf-8").strip()
            return "" if text.startswith(("max", "-1")) else text
    return ""


def usable_cores() -> float:
    """Cores this process may use: affinity, then the container's quota (cgroup v2 cpu.max: "quota period" in µs)."""
    cores = float(len(os.sched_getaffinity(0)))
    quota = cgroup_value("cpu.max").split()
    return min(cores, int(quota[0]) / int(quota[1])) if len(quota) == 2 else cores


def usable_memory_gib() -> float:
    """Memory this process may use, in GiB: the host's, then the container's limit."""
    import psutil

    total = psutil.virtual_memory().total
    limit = cgroup_value("memory.max", "memory/memory.limit_in_bytes")
    return min(total, int(limit) if limit else total) / 2**30


def check_cores() -> Check:
    cores = usable_cores()
    return judge(
        "CPU cores", f"{cores:g}", warn_if=cores < 2, fix="data preparation and tests are planned for 2 or more"
    )


def check_memory() -> Check:
    memory = usable_memory_gib()
    fix = "the demo needs about 4 GiB, a 1B checkpoint on one GPU about 24: rent a larger machine"
    return judge("memory", f"{memory:.1f} GiB", fail_if=memory < 3, warn_if=memory < 8, fix=fix)


def check_shared_memory() -> Check:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Check("/dev/shm", "warn", "missing", "workers share batches there: mount a tmpfs on /dev/shm")
    free = shutil.disk_usage(folder).free / 2**30
    fix = (
        "docker gives 64 MiB unless asked: docker run --shm-size=16g (or --ipc=host); NCCL and data workers die without"
    )
    return judge("/dev/shm", f"{free:.2f} GiB free", warn_if=free < 1, fix=fix)


def check_open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fix = f"ulimit -n {min(hard, 65535) if hard > 0 else 65535}: sharded data and checkpoints open many files"
    return judge("open files (ulimit -n)", f"{soft}", warn_if=0 <= soft < 1024, fix=fix)


def check_disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    fix = "the demo needs 1 GB; a 1B run keeps 14 GB per checkpoint, its data 2 bytes per token: use a larger disk"
    return judge("disk space here", f"{free:.0f} GB free", fail_if=free < 1, warn_if=free < 50, fix=fix)


def check_write_speed() -> Check:
    block = os.urandom(2**20)  # random, since some file systems compress
    started = time.perf_counter()
    try:
        with tempfile.NamedTemporaryFile(dir=Path.cwd(), prefix=".doctor-") as file:
            for _ in range(WRITE_TEST_MB):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Check("write speed here", "fail", str(error), "run from a folder that you may write to")
    speed = WRITE_TEST_MB / (time.perf_counter() - started)
    fix = "a network disk? keep datasets/ and runs/ on the local one: a 1B checkpoint of 14 GB takes minutes here"
    return judge("write speed here", f"{speed:,.0f} MB/s", warn_if=speed < 100, fix=fix)


def check_temporary_folder() -> Check:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free / 1e9
    fix = "export TMPDIR=/a/larger/disk"
    return judge("temporary folder", f"{folder}, {free:.0f} GB free", fail_if=free < 0.1, warn_if=free < 2, fix=fix)


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_torch,
    check_torch_is_the_images,
    check_device,
    check_megatron_core,
    check_dataset_helpers,
    check_transformer_engine,
    check_apex,
    check_data_packages,
    check_cores,
    check_memory,
    check_shared_memory,
    check_open_files,
    check_disk,
    check_write_speed,
    check_temporary_folder,
)


def run_doctor(checks: tuple[Callable[[], Check], ...] = CHECKS) -> list[Check]:
    """All checks, in order; one that raises becomes a failure that carries its error."""
    results = []
    for check in checks:
        try:
            results.append(check())
        except Exception as error:
            name = check.__name__.removeprefix("check_").replace("_", " ")
            results.append(Check(name, "fail", f"{type(error).__name__}: {error}", "make setup, or mend what it names"))
    return results


def print_doctor(json_output: bool) -> int:
    """Print the checks to standard output (a table, plain lines, or JSON); the exit code is 1 if any failed."""
    results = run_doctor()
    if json_output:
        print(json.dumps([asdict(check) for check in results], ensure_ascii=False, indent=1))
    elif sys.stdout.isatty():
        _print_table(results)
    else:
        for check in results:
            print(f"{check.status:4}  {check.name}: {check.found}" + (f"  → {check.fix}" if check.fix else ""))
    return int(any(check.status == "fail" for check in results))


def _print_table(results: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "fix"):
        table.add_column(heading, overflow="fold")
    for check in results:
        table.add_row(f"[{colours[check.status]}]{check.status}[/]", check.name, check.found, check.fix)
    Console().print(table)
