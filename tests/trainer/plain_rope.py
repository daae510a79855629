"""RoPE and the parting of queries, keys and values in plain torch, which the kernels are held against."""

import torch


def turned(mixed: torch.Tensor, angles: torch.Tensor, widths: list[int]) -> tuple[torch.Tensor, ...]:
    query, key, value = torch.split(mixed, widths, dim=3)
    query = query.reshape(*mixed.shape[:2], -1, widths[1])

    def turn(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()

    return turn(query), turn(key), value
