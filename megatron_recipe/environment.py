"""Environment variables: some libraries are told by nothing else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

TRAINING = {
    "CUDA_DEVICE_MAX_CONNECTIONS": "1",
    "NCCL_DEBUG": "WARN",
    "NCCL_NVLS_ENABLE": "0",
    "TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC": "1800",
}
"""What a trainer needs on GPUs however it is started, torchrun FILE included. The reasons stand in launch/env.sh."""


def set_for_training() -> None:
    """Set what is not set yet. CUDA and NCCL read it once: before either is used."""
    for name, value in TRAINING.items():
        os.environ.setdefault(name, value)


@contextmanager
def environment_variable(name: str, value: str) -> Iterator[None]:
    """`name` is `value` inside the block, and what it was after it."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
