"""Loss of every token of some token streams, read in windows that slide by a stride.

A window holds as many tokens as the model reads. The first window's tokens are all scored; each later window ends
`stride` tokens further on and scores only those, so that every one of them is predicted from at least
`length - stride` tokens. The last window is moved back until it is full. With a stride of the window's length these
are the windows of lm-eval's rolling loglikelihood (lm_eval/utils.py, get_rolling_token_windows).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from megatron_recipe.console import progress

LOGITS_AT_ONCE = 1 << 24
"""64 MiB in FP32: what a CPU's caches and a small GPU both bear."""
PLAIN_HEADS = ("llama", "mistral", "qwen2", "qwen3")
"""Architectures whose logits are the output layer's product and nothing else, so that it can be left out where no
token is scored."""


@dataclass(frozen=True)
class Window:
    """Tokens `begin` to `end` of a stream are read; the last `scored` of the tokens that follow each are scored."""

    stream: int
    begin: int
    end: int
    scored: int

    @property
    def length(self) -> int:
        """Tokens read."""
        return self.end - self.begin


def windows_of(stream: int, predicted: int, length: int, stride: int) -> Iterator[Window]:
    """The windows of one stream of `predicted` + 1 tokens; `stride` is 1 to `length`."""
    end = min(length, predicted)
    yield Window(stream, 0, end, end)
    while end < predicted:
        further = min(end + stride, predicted)
        yield Window(stream, further - length, further, further - end)
        end = further


def token_losses(
    model: Any, streams: Sequence[npt.NDArray[np.int64]], length: int, stride: int, batch_size: int
) -> list[npt.NDArray[np.float64]]:
    """Loss in nats of each token of each stream but its first: [len(stream) - 1] for each stream.

    batch_size: windows of full length at once; of shorter ones as many as have the same number of tokens.
    """
    losses = [np.empty(len(stream) - 1) for stream in streams]
    windows = [
        window for index, stream in enumerate(streams) for window in windows_of(index, len(stream) - 1, length, stride)
    ]
    score = scorer(model)
    with progress("held-out loss", sum(map(len, losses)), "tokens") as advance, torch.inference_mode():
        for batch in batches(windows, length * batch_size):
            width = batch[0].length
            inputs, labels = (torch.zeros(len(batch), width, dtype=torch.long) for _ in range(2))
            scored = torch.zeros(len(batch), width, dtype=torch.bool)
            for row, one in enumerate(batch):
                tokens = torch.from_numpy(streams[one.stream][one.begin : one.end + 1])
                inputs[row, : one.length], labels[row, : one.length] = tokens[:-1], tokens[1:]
                scored[row, one.length - one.scored : one.length] = True
            found = score(inputs.to(model.device), scored.to(model.device), labels[scored].to(model.device))
            values = found.double().cpu().numpy()
            for one, part in zip(batch, np.split(values, np.cumsum([one.scored for one in batch])[:-1]), strict=True):
                losses[one.stream][one.end - one.scored : one.end] = part
            advance(len(values))
    return losses


def batches(windows: list[Window], tokens: int) -> Iterator[list[Window]]:
    """The longest windows first, as many at once as fit in `tokens`, so that little of a batch is padding."""
    waiting: list[Window] = []
    for window in sorted(windows, key=lambda one: -one.length):
        if waiting and (len(waiting) + 1) * waiting[0].length > tokens:
            yield waiting
            waiting = []
        waiting.append(window)
    if waiting:
        yield waiting


def scorer(model: Any) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A function of inputs, scored (both [batch, length]) and the scored labels [n] that gives their losses [n].

    Padding stands behind the tokens, where causal attention does not see it, so there is no mask.
    """
    if model.config.model_type in PLAIN_HEADS:
        body, head = model.base_model, model.get_output_embeddings()

        def of_hidden(inputs: Tensor, scored: Tensor, labels: Tensor) -> Tensor:
            hidden = body(inputs, use_cache=False).last_hidden_state[scored]
            rows = max(LOGITS_AT_ONCE // head.weight.shape[0], 1)
            pieces = zip(hidden.split(rows), labels.split(rows), strict=True)
            return torch.cat([cross_entropy(head(some), label) for some, label in pieces])

        return of_hidden
    return lambda inputs, scored, labels: cross_entropy(model(inputs, use_cache=False).logits[scored], labels)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Loss of each row in nats, in FP32."""
    return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")
