"""Losses of sliding windows by a plain loop over transformers, one window at a time, without the project's code."""

import torch
from torch import Tensor


def hand_losses(model, stream: Tensor, length: int, stride: int) -> list[float]:
    """Loss in nats of each token of `stream` but the first; the last window is moved back until it is full."""
    losses: list[float] = []
    last = len(stream) - 1
    end = min(length, last)
    while len(losses) < last:
        begin = max(end - length, 0)
        with torch.inference_mode():
            log_p = model(stream[None, begin:end]).logits[0].double().log_softmax(-1)
        found = [-float(log_p[i, token]) for i, token in enumerate(stream[begin + 1 : end + 1])]
        losses += found[len(losses) - begin :]
        end = min(end + stride, last)
    return losses
