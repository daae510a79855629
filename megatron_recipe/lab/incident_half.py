"""Half precision as it was before BF16: FP16 without a loss scale, and FP16 alone, without anything kept in FP32.

A recipe in BF16 trains in FP16 itself. A recipe in FP32, a CPU's, goes on computing in FP32, with the outputs of all
modules and all gradients rounded to what FP16 can hold: FP16's products are ten times slower there, and its range is
what the incidents are about.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from megatron_recipe.config import Config
from megatron_recipe.lab.incident_changes import Change

if TYPE_CHECKING:
    from torch import Tensor

CONSTANT = 1_000_000_000
"""Steps after which a scale would be raised: never."""


class HalfPrecision(Change):
    """FP16 in place of the recipe's precision."""

    loss_scaling: bool
    """Whether the loss is scaled. Without, gradients are those of the mean loss of `mean_over_tokens`."""
    mean_over_tokens: int = Field(default=262_144, gt=0)
    """Tokens of a step whose mean the loss is, where it is not scaled. A small run is then rounded as one of a usual
    batch would be."""

    def settings(self, config: Config) -> dict[str, Any]:
        """FP16, where the recipe is not in FP32."""
        if config.precision.dtype == "fp32":
            return {}
        if self.loss_scaling:
            return {"precision.dtype": "fp16"}
        # the trainer's loss is a sum over tokens, whose scale of 1 is a mean loss's of as many as there are tokens
        return {
            "precision.dtype": "fp16",
            "precision.initial_loss_scale": 1 / self.mean_over_tokens,
            "precision.loss_scale_window_steps": CONSTANT,
        }

    @contextmanager
    def inside(self, config: Config) -> Iterator[None]:
        """FP16's rounding, where the run computes in FP32."""
        if config.precision.dtype != "fp32":
            yield
            return
        from megatron_recipe import train

        plain, scale = train.forward_step, 1.0 if self.loss_scaling else 1 / self.mean_over_tokens
        is_rounded: set[int] = set()

        def rounding(batches: Any, model: Any) -> Any:
            if id(model) not in is_rounded:
                is_rounded.add(id(model))
                round_model(model, scale)
            return plain(batches, model)

        train.forward_step = rounding
        try:
            yield
        finally:
            train.forward_step = plain


def round_model(model: Any, scale: float) -> None:
    """Round what each module without parts puts out to FP16, and the gradients there and of the weights.

    Args:
        scale: gradients are rounded as many times as large.
    """
    rounded = rounding_function(scale)

    def output(_module: Any, _inputs: Any, out: Any) -> Any:
        values = out if isinstance(out, tuple) else (out,)
        new = tuple(rounded(value) if is_number(value) else value for value in values)
        return new if isinstance(out, tuple) else new[0]

    for module in model.modules():
        if not any(True for _ in module.children()):
            module.register_forward_hook(output)
    for weight in model.parameters():
        weight.register_hook(lambda gradient: to_half(gradient, scale))


def is_number(value: Any) -> bool:
    """Whether it is a tensor of floating-point numbers."""
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()


def to_half(value: "Tensor", scale: float = 1.0) -> "Tensor":
    """The value as FP16 holds it, scaled by `scale` for it, in its own type."""
    return (value * scale).half().to(value.dtype) / scale


def rounding_function(scale: float) -> Callable[["Tensor"], "Tensor"]:
    """A function that rounds its argument to FP16, and the gradient through it when scaled."""
    import torch

    class Rounding(torch.autograd.Function):
        @staticmethod
        def forward(_context: Any, value: "Tensor") -> "Tensor":
            return to_half(value)

        @staticmethod
        def backward(_context: Any, *gradients: "Tensor") -> "Tensor":
            return to_half(gradients[0], scale)

    def rounded(value: "Tensor") -> "Tensor":
        result: Tensor = Rounding.apply(value)
        return result

    return rounded


class Half(HalfPrecision):
    """FP16 for weights and activations, with weights and averages in FP32 beside them."""

    kind: Literal["fp16"] = "fp16"
    """Which kind, in the file."""


class PureHalf(HalfPrecision):
    """FP16 alone: weights and AdamW's averages are FP16 numbers, too, and the update is computed in FP16."""

    kind: Literal["pure_fp16"] = "pure_fp16"
    """Which kind, in the file."""

    @contextmanager
    def inside(self, config: Config) -> Iterator[None]:
        """FP16's rounding, and an update in FP16."""
        from megatron_recipe import training_run

        plain = training_run.optimizer.build_optimizer

        def building(config: Config, model: Any) -> Any:
            built = plain(config, model)
            for part in training_run.optimizer.parts(built):
                part.optimizer.step = HalfStep(part.optimizer, config)
            return built

        training_run.optimizer.build_optimizer = building
        try:
            with super().inside(config):
                yield
        finally:
            training_run.optimizer.build_optimizer = plain


class HalfStep:
    """AdamW as it is written, in FP16 throughout: https://arxiv.org/abs/1711.05101, algorithm 2."""

    def __init__(self, optimizer: Any, config: Config) -> None:
        self.optimizer, self.constants = optimizer, config.optimizer

    def __call__(self, *_arguments: Any, **_named: Any) -> None:
        """Update all weights."""
        import torch

        with torch.no_grad():
            for group in self.optimizer.param_groups:
                group["step"] = group.get("step", 0) + 1
                for weight in group["params"]:
                    gradient = getattr(weight, "decoupled_grad", None) if weight.grad is None else weight.grad
                    if gradient is not None:
                        self._update(weight, gradient.half(), group)

    def _update(self, weight: "Tensor", gradient: "Tensor", group: dict[str, Any]) -> None:
        """One weight; its averages are kept where a checkpoint looks for them."""
        beta1, beta2, state = self.constants.beta1, self.constants.beta2, self.optimizer.state[weight]
        for name in ("exp_avg", "exp_avg_sq"):
            if name not in state:
                state[name] = weight.new_zeros(weight.shape)
        mean = state["exp_avg"].half() * beta1 + gradient * (1 - beta1)
        square = state["exp_avg_sq"].half() * beta2 + gradient * gradient * (1 - beta2)
        root = (square / (1 - beta2 ** group["step"])).sqrt() + self.constants.epsilon
        update = mean / (1 - beta1 ** group["step"]) / root
        half = weight.half() * (1 - group["lr"] * group["weight_decay"]) - update * group["lr"]
        for kept, new in ((state["exp_avg"], mean), (state["exp_avg_sq"], square), (weight, half)):
            kept.copy_(new)
