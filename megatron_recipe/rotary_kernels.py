"""Rotary position embedding in one pass with the parting of queries, keys and values. Triton, for any card.

The product before attention writes heads as Megatron orders them: for each group its queries, then its key, then its
value. Attention wants three tensors, and RoPE turns two of them. Transformer Engine's kernel for both moves 1.1 TB/s on
an H100; this one reads and writes each value once, in 16-byte pieces.

RoPE is that of Su et al. (arXiv:2104.09864) with the halves of a head paired, as GPT-NeoX and Llama have it.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


def install() -> None:
    """Let Megatron's attention call this in the place of Transformer Engine's function of the same arguments."""
    from megatron.core.transformer import attention

    attention.apply_fused_qkv_rotary_pos_emb = turned_parts
    attention.HAVE_FUSED_QKV_ROPE = True


def turned_parts(
    mixed: Tensor, query_angles: Tensor, key_angles: Tensor, widths: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, turned, and values.

    mixed: [length, batch, groups, sum of widths]; angles: [length or more, 1, 1, head_dim] in FP32, the same for
    queries and keys; widths: of a group's queries, key and value.
    Returns [length, batch, heads, head_dim], and twice [length, batch, groups, head_dim].
    """
    assert query_angles is key_angles and widths[1] == widths[2] == query_angles.shape[-1], widths
    parts: tuple[Tensor, Tensor, Tensor] = _TurnedParts.apply(mixed, query_angles.contiguous(), widths[0] // widths[1])
    return parts


class _TurnedParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mixed: Tensor, angles: Tensor, queries_per_group: int) -> tuple[Tensor, Tensor, Tensor]:
        length, batch, groups, _ = mixed.shape
        width = angles.shape[-1]
        query = mixed.new_empty(length, batch, groups * queries_per_group, width)
        key, value = (mixed.new_empty(length, batch, groups, width) for _ in range(2))
        _launch(_part_and_turn, mixed.contiguous(), query, key, value, angles)
        ctx.save_for_backward(angles)
        return query, key, value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        query, key, value = (gradient.contiguous() for gradient in gradients)
        (angles,) = ctx.saved_tensors
        length, batch, heads, width = query.shape
        groups = key.shape[2]
        mixed = query.new_empty(length, batch, groups, (heads // groups + 2) * width)
        _launch(_turn_back_and_mix, mixed, query, key, value, angles)
        return mixed, None, None


def _launch(kernel: Any, mixed: Tensor, query: Tensor, key: Tensor, value: Tensor, angles: Tensor) -> None:
    length, batch, heads, width = query.shape
    groups = key.shape[2]
    all_heads = heads + 2 * groups
    kernel[(length,)](
        mixed, query, key, value, angles, all_heads, heads // groups, groups,
        BATCH=batch, HEADS=triton.next_power_of_2(all_heads),
        WIDTH=width, COLUMNS=triton.next_power_of_2(width // 2), num_warps=4,
    )  # fmt: skip


@triton.jit
def _places(head, per_group, groups, token, column, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Offsets of a token's heads: in `mixed`, among the queries, and among keys or values."""
    group, place = head // (per_group + 2), head % (per_group + 2)
    mixed = (token * groups * (per_group + 2) + head) * WIDTH
    query = (token * groups * per_group + group * per_group + place) * WIDTH
    other = (token * groups + group) * WIDTH
    return mixed + column, query + column, other + column


@triton.jit
def _part_and_turn(  # type: ignore[no-untyped-def]
    mixed, query, key, value, angles, all_heads, per_group, groups,
    BATCH: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One position of all sequences: its angles are computed once."""
    position = tl.program_id(0).to(tl.int64)
    head, column = tl.arange(0, HEADS)[:, None], tl.arange(0, COLUMNS)[None, :]
    half: tl.constexpr = WIDTH // 2
    angle = tl.load(angles + position * WIDTH + column, column < half, other=0.0)
    cos, sin = tl.cos(angle), tl.sin(angle)
    is_there = (head < all_heads) & (column < half)
    place = head % (per_group + 2)
    is_query, is_key = is_there & (place < per_group), is_there & (place == per_group)
    is_value = is_there & (place > per_group)
    for sample in range(BATCH):
        at, at_query, at_other = _places(head, per_group, groups, position * BATCH + sample, column, WIDTH)
        first = tl.load(mixed + at, is_there, other=0.0)
        second = tl.load(mixed + at + half, is_there, other=0.0)
        turned_first = (first * cos - second * sin).to(first.dtype)
        turned_second = (second * cos + first * sin).to(first.dtype)
        tl.store(query + at_query, turned_first, is_query)
        tl.store(query + at_query + half, turned_second, is_query)
        tl.store(key + at_other, turned_first, is_key)
        tl.store(key + at_other + half, turned_second, is_key)
        tl.store(value + at_other, first, is_value)
        tl.store(value + at_other + half, second, is_value)


@triton.jit
def _turn_back_and_mix(  # type: ignore[no-untyped-def]
    mixed, query, key, value, angles, all_heads, per_group, groups,
    BATCH: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of the above: each turn the other way around."""
    position = tl.program_id(0).to(tl.int64)
    head, column = tl.arange(0, HEADS)[:, None], tl.arange(0, COLUMNS)[None, :]
    half: tl.constexpr = WIDTH // 2
    angle = tl.load(angles + position * WIDTH + column, column < half, other=0.0)
    cos, sin = tl.cos(angle), tl.sin(angle)
    is_there = (head < all_heads) & (column < half)
    place = head % (per_group + 2)
    is_query, is_key = is_there & (place < per_group), is_there & (place == per_group)
    is_value = is_there & (place > per_group)
    for sample in range(BATCH):
        at, at_query, at_other = _places(head, per_group, groups, position * BATCH + sample, column, WIDTH)
        # where a head is not of the kind, zero is read: each sum has one term
        first = tl.load(query + at_query, is_query, other=0.0) + tl.load(key + at_other, is_key, other=0.0)
        second = tl.load(query + at_query + half, is_query, other=0.0)
        second += tl.load(key + at_other + half, is_key, other=0.0)
        turned_first = (first * cos + second * sin).to(first.dtype)
        turned_second = (second * cos - first * sin).to(first.dtype)
        value_first = tl.load(value + at_other, is_value, other=0.0)
        value_second = tl.load(value + at_other + half, is_value, other=0.0)
        tl.store(mixed + at, tl.where(is_value, value_first, turned_first), is_there)
        tl.store(mixed + at + half, tl.where(is_value, value_second, turned_second), is_there)
