"""The doctor: every check answers, a lack is named with its fix, none raises, hangs or tells a secret."""

import http.server
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from megatron_recipe import doctor
from megatron_recipe.doctor import check as checks
from megatron_recipe.doctor import gpu, host, network, software
from megatron_recipe.doctor.check import Check
from megatron_recipe.doctor.gpu import Gpu

H100 = Gpu("NVIDIA H100 80GB HBM3", "580.65.06")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests ask no server but their own."""
    for name in ("HF_ENDPOINT", "WANDB_BASE_URL", "WANDB_API_KEY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(network, "answer_date", lambda address: None)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (gpu, host, software):
        monkeypatch.setattr(module, "visible_gpus", lambda: [H100, H100])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def smi(monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]) -> None:
    """nvidia-smi that answers queries by what they begin with; it knows no other."""

    def answer(*command: str) -> str:
        asked = " ".join(command[1:]).removeprefix("--query-gpu=")
        return next((text for start, text in answers.items() if asked.startswith(start)), "")

    monkeypatch.setattr(gpu, "answer_of", answer)


def test_this_machine_passes_or_says_how_to_mend_it() -> None:
    results = doctor.run_doctor()
    assert len(results) == len(doctor.CHECKS)
    assert len({check.name for check in results}) == len(results)
    for check in results:
        assert check.found
        assert bool(check.fix) == (check.status != "ok"), check
    named = {check.name: check for check in results}
    assert named["megatron-core"].status == named["dataset helpers"].status == named["torch"].status == "ok"


# --- whatever a check does ---


def test_a_check_that_raises_is_a_failure_among_the_others() -> None:
    def check_broken_package() -> Check:
        raise ImportError("libcudart.so.13: cannot open shared object file")

    broken, fine = doctor.run_doctor((check_broken_package, software.check_python))
    assert (broken.status, broken.name) == ("fail", "broken package")
    assert "libcudart" in broken.found
    assert fine.status == "ok"


def test_a_check_that_hangs_is_left_behind() -> None:
    let_go = threading.Event()

    def check_dead_disk() -> Check:
        let_go.wait()
        return Check("dead disk", "ok", "")

    began = time.monotonic()
    result = doctor.run_check(check_dead_disk, seconds=0.1)
    let_go.set()
    assert time.monotonic() - began < 2
    assert (result.status, result.found) == ("warn", "no answer within 0.1 s")


def test_a_command_that_hangs_or_fails_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "COMMAND_SECONDS", 0.2)
    assert checks.answer_of("sleep", "60") == ""
    assert checks.answer_of("false") == ""
    assert checks.answer_of("no-such-command") == ""
    assert checks.answer_of("echo", "7") == "7\n"


# --- software ---


@pytest.mark.parametrize(
    ("cuda", "driver", "words"),
    [
        ("13.0", "535.104.05", "driver 580 or newer"),
        ("13.0", "580.65.06", "CUDA_VISIBLE_DEVICES"),
        (None, "580.65.06", "this torch is for CPUs alone"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_a_failure_with_its_cause(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, driver: str, words: str
) -> None:
    monkeypatch.setattr(software, "visible_gpus", lambda: [Gpu("NVIDIA H100", driver)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    check = software.check_torch()
    assert check.status == "fail"
    assert words in check.fix
    assert driver in check.found


def test_a_replaced_torch_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    note = tmp_path / ".image_torch"
    note.write_text(f"{torch.__version__} {torch.__file__}\n")
    assert software.check_torch_is_the_images().status == "ok"
    note.write_text("2.9.0a0+nv /usr/local/lib/python3.12/dist-packages/torch/__init__.py\n")
    check = software.check_torch_is_the_images()
    assert check.status == "fail"
    assert "2.9.0a0+nv" in check.fix


def test_a_cudnn_of_another_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(software, "version_of", lambda name: "9.19.0.56" if name == "nvidia-cudnn-cu13" else None)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)
    assert software.check_cudnn() == Check("cuDNN", "ok", "9.19.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90100)
    assert software.check_cudnn().found == "9.1.0, but the wheel's is 9.19.0.56"

    def refuse() -> int:
        raise RuntimeError("cuDNN version incompatibility")

    monkeypatch.setattr(torch.backends.cudnn, "version", refuse)
    check = software.check_cudnn()
    assert check.status == "fail"
    assert "LD_LIBRARY_PATH" in check.fix


def test_a_second_nccl_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 28, 9))
    monkeypatch.setattr(software, "version_of", lambda name: "2.28.9" if name == "nvidia-nccl-cu13" else None)
    assert software.check_nccl() == Check("NCCL", "ok", "2.28.9")
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 21, 5))
    assert software.check_nccl().status == "warn"


def test_the_other_apex_of_pypi_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software.importlib.util, "find_spec", lambda name: object() if name == "apex" else None)
    check = software.check_apex()
    assert check.status == "fail"
    assert "pip uninstall apex" in check.fix


def test_a_transformer_engine_without_its_torch_extension_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "version_of", lambda name: "2.20.2" if name == "transformer-engine" else None)
    monkeypatch.setattr(software.importlib.util, "find_spec", lambda name: None)
    assert software.check_transformer_engine().status == "fail"


def test_a_missing_transformer_engine_matters_on_a_gpu(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    monkeypatch.setattr(software, "version_of", lambda name: None)
    assert software.check_transformer_engine().status == "warn"


# --- GPUs ---


def test_nvidia_smi_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    smi(monkeypatch, {"name,driver_version": "NVIDIA H100 80GB HBM3, 580.65.06\n" * 2})
    assert gpu.visible_gpus() == [H100, H100]
    assert gpu.query_gpus("unknown") == []


@pytest.mark.parametrize(
    ("answer", "status", "found"),
    [
        ("0, 0\n0, 0\n", "ok", "0 since the driver was loaded, 0 ever"),
        ("0, 0\n0, 4\n", "warn", "0 since the driver was loaded, 4 ever"),
        ("3, 4\n0, 0\n", "fail", "3 since the driver was loaded, 4 ever"),
        ("[N/A], [N/A]\n", "ok", "no ECC on this card"),
        ("", "ok", "tells none"),
    ],
)
def test_memory_errors(monkeypatch: pytest.MonkeyPatch, two_gpus: None, answer: str, status: str, found: str) -> None:
    smi(monkeypatch, {"ecc.errors": answer})
    check = gpu.check_gpu_errors()
    assert check.status == status
    assert found in check.found


@pytest.mark.parametrize("field", gpu.REASONS)
@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("41, 0x0000000000000001\n", "ok", "41 °C"),
        ("41, 0x0000000000000004\n", "ok", "41 °C"),  # the power cap is what a busy card shows
        ("88, 0x0000000000000000\n", "warn", "88 °C"),
        ("60, 0x0000000000000000\n62, 0x00000000000000C0\n", "warn", "hardware thermal limit, power brake"),
        ("[N/A], [Not Supported]\n", "ok", "0 °C"),
    ],
)
def test_heat(
    monkeypatch: pytest.MonkeyPatch, two_gpus: None, field: str, answer: str, status: str, words: str
) -> None:
    smi(monkeypatch, {f"temperature.gpu,{field}": answer})
    check = gpu.check_gpu_heat()
    assert check.status == status
    assert words in check.found


def test_a_card_that_is_taken(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    smi(monkeypatch, {"index,memory.used": "0, 450, 81559, 0\n1, 40960, 81559, 98\n"})
    check = gpu.check_gpu_is_free()
    assert check.status == "warn"
    assert check.found == "GPU 1: 40.0 of 80 GiB, 98% busy"


@pytest.mark.parametrize(("answer", "status"), [("Enabled\nEnabled\n", "ok"), ("Enabled\nDisabled\n", "warn")])
def test_persistence(monkeypatch: pytest.MonkeyPatch, two_gpus: None, answer: str, status: str) -> None:
    smi(monkeypatch, {"persistence_mode": answer})
    assert gpu.check_persistence().status == status


@pytest.mark.parametrize(
    ("seen", "environment", "status", "words"),
    [
        (2, {}, "ok", ""),
        (2, {"LOCAL_WORLD_SIZE": "2"}, "ok", ""),
        (2, {"NPROC_PER_NODE": "8"}, "fail", "NPROC_PER_NODE=2"),
        (1, {}, "warn", "CUDA_VISIBLE_DEVICES hides some"),
        (2, {"NPROC_PER_NODE": "gpu"}, "ok", ""),
    ],
)
def test_gpus_and_ranks(
    monkeypatch: pytest.MonkeyPatch, two_gpus: None, seen: int, environment: dict[str, str], status: str, words: str
) -> None:
    for name in ("LOCAL_WORLD_SIZE", "NPROC_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    check = gpu.check_gpu_count()
    assert check.status == status
    assert words in check.fix


@pytest.mark.parametrize(
    ("topology", "reach", "status", "found"),
    [
        ("GPU0 X NV18\nGPU1 NV18 X\n", True, "ok", "NVLink, 18 lanes"),
        ("GPU0 X PHB\nGPU1 PHB X\n", True, "warn", "PCIe"),
        ("GPU0 X SYS\nGPU1 SYS X\n", False, "warn", "PCIe; no peer access between 1 of 1 pairs"),
    ],
)
def test_links(
    monkeypatch: pytest.MonkeyPatch, two_gpus: None, topology: str, reach: bool, status: str, found: str
) -> None:
    smi(monkeypatch, {"topo -m": topology})
    monkeypatch.setattr(torch.cuda, "can_device_access_peer", lambda one, other: reach)
    check = gpu.check_gpu_links()
    assert (check.status, check.found) == (status, found)


def test_cards_of_two_kinds(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: ("A100", "A40")[index])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=80 * 2**30))
    check = gpu.check_device()
    assert check.status == "warn"
    assert "A40" in check.found


# --- the machine ---


def test_a_small_shm_and_a_small_disk_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.shutil, "disk_usage", lambda path: SimpleNamespace(free=64 * 2**20))
    assert "--shm-size" in host.check_shared_memory().fix
    assert host.check_disk().status == "fail"


def test_shm_is_wanted_by_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * 2**30))
    monkeypatch.setattr(host, "visible_gpus", lambda: [H100] * 2)
    assert host.check_shared_memory().status == "ok"
    monkeypatch.setattr(host, "visible_gpus", lambda: [H100] * 8)
    check = host.check_shared_memory()
    assert check.status == "warn"
    assert "4 GiB are wanted" in check.fix


@pytest.mark.parametrize(("limit", "expected_gib"), [(str(4 * 2**30), 4.0), ("", None)])
def test_the_containers_memory_limit_counts(
    monkeypatch: pytest.MonkeyPatch, limit: str, expected_gib: float | None
) -> None:
    monkeypatch.setattr(host, "cgroup_value", lambda *files: limit)
    expected = expected_gib or psutil.virtual_memory().total / 2**30
    assert host.usable_memory_gib() == pytest.approx(expected)


def test_the_containers_cpu_quota_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cgroup_value", lambda *files: "150000 100000")
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda pid: set(range(64)))
    assert host.usable_cores() == 1.5
    assert host.check_cores().status == "warn"


def test_few_cores_for_many_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "usable_cores", lambda: 8.0)
    monkeypatch.setattr(host, "visible_gpus", lambda: [H100] * 8)
    assert "8 GPUs want 32 cores" in host.check_cores().fix


def test_a_machine_that_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=3 * 2**30, total=8 * 2**30))
    check = host.check_swap()
    assert (check.status, check.found) == ("warn", "3.0 of 8.0 GiB used")


@pytest.mark.parametrize(("soft", "gpus", "status"), [(-1, 2, "ok"), (8 * 2**20, 2, "warn"), (8 * 2**20, 1, "ok")])
def test_locked_memory(monkeypatch: pytest.MonkeyPatch, soft: int, gpus: int, status: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, soft))
    monkeypatch.setattr(host, "visible_gpus", lambda: [H100] * gpus)
    assert host.check_locked_memory().status == status


def test_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert "ulimit -n 4096" in host.check_open_files().fix


def test_a_folder_that_cannot_be_written_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", kwargs["dir"])

    monkeypatch.setattr(host.tempfile, "NamedTemporaryFile", refuse)
    assert host.check_write_speed().status == "fail"


def test_a_slow_disk_is_measured_in_time_and_nothing_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host, "WRITE_TEST_SECONDS", 0.05)
    monkeypatch.setattr(host.os, "fsync", lambda file: time.sleep(0.1))
    check = host.check_write_speed()
    assert check.status == "warn"
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_time_zone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    assert host.check_time_zone().found.startswith("Asia/Shanghai (UTC+8)")
    monkeypatch.delenv("TZ")
    time.tzset()


# --- network, keys, messages ---


@pytest.mark.parametrize(
    ("endpoint", "reached", "status", "words"),
    [
        ("", ("huggingface.co", "hf-mirror.com"), "ok", "huggingface.co, hf-mirror.com answers"),
        ("", ("hf-mirror.com",), "warn", "only hf-mirror.com"),
        ("", (), "warn", "no answer within 2 s"),
        ("https://hub.example.org", ("hub.example.org",), "ok", "hub.example.org answers"),
        ("https://hub.example.org", ("huggingface.co",), "warn", "hub.example.org: no answer"),
    ],
)
def test_the_hub_or_its_mirror(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, reached: tuple[str, ...], status: str, words: str
) -> None:
    if endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr(network, "answer_date", lambda address: 1.0 if address.endswith(reached) else None)
    check = network.check_hub()
    assert check.status == status
    assert words in check.found


SECRET = "5ecret5ecret5ecret"


def answers(address: str) -> float:
    return time.time()


@pytest.mark.parametrize(
    ("key", "answer", "status", "found"),
    [
        ("", None, "ok", "does not answer, no key is set"),
        (SECRET, answers, "ok", "answers, a key is set"),
        (SECRET, None, "warn", "does not answer, a key is set"),
    ],
)
def test_wandb(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    key: str,
    answer: Callable[[str], float] | None,
    status: str,
    found: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    if answer:
        monkeypatch.setattr(network, "answer_date", answer)
    check = network.check_wandb()
    assert check.status == status
    assert check.found.startswith(found)
    assert SECRET not in str(check)


def test_wandbs_key_in_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".netrc"
    file.write_text(f"machine api.wandb.ai login user password {SECRET}\n")
    file.chmod(0o600)
    check = network.check_wandb()
    assert "a key is set" in check.found
    assert SECRET not in str(check)


@pytest.mark.parametrize(
    ("webhook", "status", "found"),
    [
        ("", "ok", "webhook not set"),
        (f"https://hooks.example.org/{SECRET}", "ok", "webhook set"),
        (f"hooks.example.org/{SECRET}", "warn", "webhook set"),
    ],
)
def test_addresses_are_never_told(monkeypatch: pytest.MonkeyPatch, webhook: str, status: str, found: str) -> None:
    monkeypatch.setenv("MEGATRON_RECIPE_WEBHOOK", webhook)
    monkeypatch.delenv("MEGATRON_RECIPE_HEARTBEAT", raising=False)
    check = network.check_messages()
    assert (check.status, check.found) == (status, f"{found}, heartbeat not set")
    assert SECRET not in str(check)
    assert "example.org" not in str(check)


@pytest.mark.parametrize(
    ("date", "status", "words"),
    [(lambda: time.time() - 5, "ok", "5 s ahead"), (lambda: time.time() + 600, "warn", "600 s behind")],
)
def test_a_clock_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, date: Callable[[], float], status: str, words: str
) -> None:
    monkeypatch.setattr(network, "answer_date", lambda address: date())
    check = network.check_clock()
    assert (check.status, check.found) == (status, words)


class Answering(http.server.BaseHTTPRequestHandler):
    """Refuses, with a date of its own."""

    def do_HEAD(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        self.send_response_only(403)
        self.send_header("Date", formatdate(1_700_000_000, usegmt=True))
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_refuses_is_reached(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(network, "ANSWER_SECONDS", 0.3)
    assert network.answer_date(server) == 1_700_000_000
    assert network.answer_date(f"{server}/slow") is None
    assert network.answer_date("http://127.0.0.1:1") is None
    assert network.answer_date("no address") is None


# --- printing ---


def test_printing_gives_json_or_lines_and_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "run_doctor", lambda: [Check("memory", "fail", "1.0 GiB", "rent more")])
    assert doctor.print_doctor(json_output=True) == 1
    assert json.loads(capsys.readouterr().out) == [
        {"name": "memory", "status": "fail", "found": "1.0 GiB", "fix": "rent more"}
    ]
    assert doctor.print_doctor(json_output=False) == 1
    assert capsys.readouterr().out == "fail  memory: 1.0 GiB  → rent more\n"
    doctor._print_table([Check("memory", "ok", "[/bold] 1.0 GiB")])
    assert "[/bold] 1.0 GiB" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "run_doctor", lambda: [Check("memory", "warn", "4 GiB", "rent more")])
    assert doctor.print_doctor(json_output=False) == 0


def test_importing_it_costs_no_library() -> None:
    code = "import sys, megatron_recipe.doctor; print('torch' in sys.modules, 'psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
