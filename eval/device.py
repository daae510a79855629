"""Where evaluations run: the first GPU if there is one, else the CPU in FP32."""

import torch


def choose_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def evaluation_dtype(device: torch.device) -> torch.dtype | None:
    """Type to compute in; None is the model's own. A CPU multiplies BF16 ten times slower than FP32."""
    return torch.float32 if device.type == "cpu" else None


def device_name(device: torch.device) -> str:
    """As reports print it: "cpu", or the GPU's name."""
    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
