"""Stochastic gradient descent with momentum and decoupled weight decay, the same on every machine.

torch's SGD and Transformer Engine's add the decay to the gradient, where it passes through the momentum; here weights
shrink by rate × decay, as AdamW's do (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101, Algorithm 1).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class MomentumSGD(torch.optim.Optimizer):
    """m ← momentum · m + g;  w ← w - rate · (m + weight_decay · w). The constructor takes what Megatron passes."""

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, weight_decay: float = 0.0, momentum: float = 0.9
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    def make_states(self) -> None:
        """Create the momenta, as a first step does, so that a checkpoint has something to be loaded into."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if not self.state[parameter]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update all parameters that have a gradient."""
        self.make_states()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            momenta = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_add_(momenta, [parameter.grad for parameter in parameters])
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, momenta, alpha=-group["lr"])
