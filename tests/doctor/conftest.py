"""Fixtures of the doctor's tests: no network, and two GPUs on request."""

import pytest
import torch
from fake_gpus import H100

from megatron_recipe.doctor import gpu, host, network, software


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests ask no server but their own."""
    for name in ("HF_ENDPOINT", "WANDB_BASE_URL", "WANDB_API_KEY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(network, "answer_date", lambda address: None)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (gpu, host, software):
        monkeypatch.setattr(module, "installed_gpus", lambda: [H100, H100])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
