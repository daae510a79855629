"""How the model itself is doing, at the steps that are recorded: gradients, updates, activations, attention logits.

Everything is read beside the training: nothing that the step computes depends on it, and the numbers stay on the device
until the record is written, so that no step waits for them. What is too large to be kept twice is read in part: the
size of an update at `SAMPLE` weights of each parameter, attention logits of some queries of one sequence. So the cost
does not grow with the model's width; `logging.model_readings` turns it off.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.transformer.module import param_is_not_shared
from megatron.core.transformer.transformer_layer import TransformerLayer
from torch import Tensor

from megatron_recipe.histograms import layer_kind
from megatron_recipe.optimizer import parts
from megatron_recipe.rank_readings import Reading

SAMPLE = 16_384
"""Weights of a parameter that are looked at before and after the update."""
QUERIES = 64
"""Positions of one sequence whose attention logits, and logits over the vocabulary, are looked at."""
ATTENTION, FEED_FORWARD, NORMS, EMBEDDING, OUTPUT = "attention", "feed_forward", "norms", "embedding", "output"


class ModelReadings:
    """Looks at one rank's part of the model in the steps for which it is asked.

    Args:
        is_on: `logging.model_readings`.
        clip_grad_norm: gradients are read after clipping, and given as they were before.
    """

    def __init__(self, is_on: bool, clip_grad_norm: float) -> None:
        self.is_on, self.clip_grad_norm = is_on, clip_grad_norm
        self._forget()

    def _forget(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.layers: dict[int, dict[str, Tensor]] = {}
        self.highest_logit: Tensor | None = None

    @contextmanager
    def of_step(self, model: list[Any], optimizer: Any, is_wanted: bool) -> Iterator[None]:
        """Read the step that is taken inside, if it is wanted."""
        if not (self.is_on and is_wanted):
            yield
            return
        self._forget()  # a step that was rolled back left no record, but its readings
        weights = list(_weights_of(model, optimizer))
        before = [_sampled(weight) for _, weight in weights]
        hooks = list(self._hooks(model))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        self._read_weights(weights, before)

    def take(self, grad_norm: float) -> Reading:
        """What was read since the last call, as plain numbers, empty where nothing was. Waits for the device.

        grad_norm: of the whole model, before clipping; 0 where nothing was clipped.

        `weights`: by `layer/kind`, the layer 0 outside of the layers: sums of squares of gradient, weight, sampled
        update and its weights; numbers of sampled zero gradients, of sampled gradients, and of weights.
        `layers`: by layer: mean square of its output, largest attention logit. `logit`: largest over the vocabulary.
        """
        sums, layers, highest = self.sums, self.layers, self.highest_logit
        self._forget()
        if not (sums or layers):
            return {}
        clip = self.clip_grad_norm
        factor = max(1.0, grad_norm / clip) ** 2 if clip > 0 and math.isfinite(grad_norm) else 1.0
        singles = [value for read in layers.values() for value in read.values()]
        tensors = [*sums.values(), *singles, *([] if highest is None else [highest])]
        # one copy from the device, not one for each number
        numbers = iter(torch.cat([tensor.reshape(-1) for tensor in tensors]).tolist())
        weights = {}
        for name in sums:
            gradient, *others = (next(numbers) for _ in range(len(sums[name])))
            weights[name] = [gradient * factor, *others]
        return {
            "weights": weights,
            "layers": {number: {name: next(numbers) for name in read} for number, read in layers.items()},
            "logit": None if highest is None else next(numbers),
        }

    @torch.no_grad()
    def _read_weights(self, weights: list[tuple[str, Tensor]], before: list[Tensor]) -> None:
        for (name, weight), old in zip(weights, before, strict=True):
            gradient = getattr(weight, "decoupled_grad", None) if weight.grad is None else weight.grad
            nothing = torch.zeros((), device=weight.device)
            some = None if gradient is None else _sampled(gradient)
            is_exact = weight.dtype == torch.float32  # in BF16 alone, a change is mostly rounding
            read = [
                nothing if gradient is None else _square(gradient),
                _square(weight),
                _square(_sampled(weight) - old) if is_exact else nothing,
                _square(old) if is_exact else nothing,
                nothing if some is None else (some == 0).sum().float(),
                nothing + (0 if some is None else some.numel()),
                nothing + weight.numel(),
            ]
            sums = torch.stack(read)
            self.sums[name] = self.sums[name] + sums if name in self.sums else sums

    def _hooks(self, model: list[Any]) -> Iterator[Any]:
        for chunk in model:
            for name, module in chunk.named_modules():
                if isinstance(module, TransformerLayer):
                    yield self._of_output(module)
                    yield self._of_attention(module)
                elif name.endswith("output_layer"):
                    yield module.register_forward_hook(self._read_logits)

    def _of_output(self, layer: Any) -> Any:
        def read(_module: Any, _inputs: Any, output: Any) -> None:
            hidden = (output[0] if isinstance(output, tuple) else output).detach()
            self.layers.setdefault(layer.layer_number, {})["mean_square"] = _square(hidden) / hidden.numel()

        return layer.register_forward_hook(read)

    def _of_attention(self, layer: Any) -> Any:
        def read(_module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            tensors = [*inputs, *named.values()]
            highest = highest_attention_logit(tensors[0].detach(), tensors[1].detach())
            self.layers.setdefault(layer.layer_number, {})["attention_logit"] = highest

        return layer.self_attention.core_attention.register_forward_pre_hook(read, with_kwargs=True)

    @torch.no_grad()
    def _read_logits(self, _module: Any, _inputs: Any, output: Any) -> None:
        logits = (output[0] if isinstance(output, tuple) else output).detach()
        self.highest_logit = _some_positions(logits)[:, 0].max().float()


@torch.no_grad()
def highest_attention_logit(query: Tensor, key: Tensor) -> Tensor:
    """The largest |q·k| / √d of `QUERIES` positions of the first sequence with the keys up to theirs.

    query: [length, batch, heads, d]; key: [length, batch, groups, d], with less heads; both without the batch where
    sequences are laid end to end (whose documents are not kept apart here). With context parallelism these are the
    rank's own parts of the sequence, and keys that lie on other ranks are not looked at.
    """
    if query.dim() == 4:
        query, key = query[:, 0], key[:, 0]
    places = torch.arange(query.shape[0], device=query.device)[:: max(1, query.shape[0] // QUERIES)]
    wanted = query[places].float()
    groups, heads = key.shape[1], query.shape[1]
    wanted = wanted.view(len(places), groups, heads // groups, -1)
    logits = torch.einsum("qghd,kgd->ghqk", wanted, key.float()) / math.sqrt(query.shape[-1])
    later = torch.arange(key.shape[0], device=query.device)[None, :] > places[:, None]
    return logits.masked_fill_(later, 0.0).abs().max()


def _some_positions(tensor: Tensor) -> Tensor:
    return tensor[:: max(1, tensor.shape[0] // QUERIES)]


def _square(tensor: Tensor) -> Tensor:
    """Sum of squares in single precision, without a copy of the tensor."""
    return torch.linalg.vector_norm(tensor.detach(), dtype=torch.float32).square()


def _sampled(tensor: Tensor) -> Tensor:
    """A copy of at most `SAMPLE` numbers, spread evenly; an odd stride meets all columns of a matrix."""
    flat = tensor.detach().flatten() if not tensor.is_contiguous() else tensor.detach().view(-1)
    return flat[:: max(1, -(-flat.numel() // SAMPLE)) | 1].clone()


def _weights_of(model: list[Any], optimizer: Any) -> Iterator[tuple[str, Tensor]]:
    """`layer/kind` and weight of all that this rank stands for, as the optimizer keeps it: what several ranks hold
    alike is one rank's, so that the ranks' sums are the model's.
    """
    shards: dict[Tensor, Tensor] = {}
    is_sharded = False
    for part in parts(optimizer):
        places = getattr(part, "model_param_group_index_map", None)
        is_sharded = is_sharded or places is not None
        groups = part.optimizer.param_groups if places else []
        shards |= {weight: groups[group]["params"][place] for weight, (group, place) in (places or {}).items()}
    if not is_sharded and parallel_state.get_data_parallel_rank(with_context_parallel=True) > 0:
        return
    for chunk in model:
        for name, weight in _named_weights(chunk):
            if not param_is_not_shared(weight) or not tensor_parallel.param_is_not_tensor_parallel_duplicate(weight):
                continue
            kept = shards.get(weight) if is_sharded else getattr(weight, "main_param", weight)
            if kept is not None and kept.numel():
                yield name, kept


def _named_weights(chunk: Any) -> Iterator[tuple[str, Any]]:
    numbers = {
        f"{name}.": module.layer_number
        for name, module in chunk.named_modules()
        if isinstance(module, TransformerLayer)
    }
    for name, weight in chunk.named_parameters():
        layer = next((number for prefix, number in numbers.items() if name.startswith(prefix)), 0)
        yield f"{layer}/{kind_of(name)}", weight


def kind_of(name: str) -> str:
    """attention, feed_forward, norms, embedding or output, from a parameter's name."""
    if layer_kind(name) == "norms" or "layer_norm_" in name:
        return NORMS
    for part, kind in (("self_attention", ATTENTION), ("mlp", FEED_FORWARD), ("embedding", EMBEDDING)):
        if part in name:
            return kind
    return OUTPUT
