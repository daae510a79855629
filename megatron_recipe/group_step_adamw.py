"""AdamW that keeps one step count for each parameter group, for machines without Transformer Engine and apex.

Megatron's distributed optimizer saves and reshards states of TE's and apex's Adam, which count steps in the group.
torch.optim.AdamW counts in every parameter; after a load Megatron makes all parameters share one count tensor, which
then advances once for each of them and corrupts the bias correction silently.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim.adamw import adamw


class GroupStepAdamW(torch.optim.Optimizer):
    """Loshchilov and Hutter's AdamW (https://arxiv.org/abs/1711.05101) through torch's own kernels.

    The constructor takes what Megatron passes to TE's FusedAdam; `capturable` and `adam_w_mode=True` change nothing.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        capturable: bool = False,
        adam_w_mode: bool = True,
    ) -> None:
        if not adam_w_mode:
            raise ValueError("GroupStepAdamW decays weights decoupled from the gradient only (adam_w_mode=True)")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update all parameters that have a gradient; states are created at their first step."""
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            for parameter in parameters:
                if not self.state[parameter]:
                    self.state[parameter]["exp_avg"] = torch.zeros_like(parameter)
                    self.state[parameter]["exp_avg_sq"] = torch.zeros_like(parameter)
            adamw(
                parameters,
                [parameter.grad for parameter in parameters],
                [self.state[parameter]["exp_avg"] for parameter in parameters],
                [self.state[parameter]["exp_avg_sq"] for parameter in parameters],
                [],
                # torch adds one to each count it is given
                [torch.tensor(float(group["step"] - 1)) for _ in parameters],
                foreach=True,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )
