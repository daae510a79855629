"""GPUs that are not there, and an nvidia-smi that answers as told."""

import pytest

from megatron_recipe.doctor import gpu
from megatron_recipe.doctor.gpu import Gpu

H100 = Gpu("NVIDIA H100 80GB HBM3", "580.65.06")


def smi(monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]) -> None:
    """nvidia-smi that answers queries by what they begin with; it knows no other."""

    def answer(*command: str) -> str:
        asked = " ".join(command[1:]).removeprefix("--query-gpu=")
        return next((text for start, text in answers.items() if asked.startswith(start)), "")

    monkeypatch.setattr(gpu, "answer_of", answer)
