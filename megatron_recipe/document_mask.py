"""Attention that ends at document boundaries (`data.mask_between_documents`), in the two forms that layers take.

`cu_seqlens` of a batch says where documents begin in the micro-batch laid end to end. Transformer Engine takes the
micro-batch in that form (`thd`), and RoPE begins anew at each document. The local layers take a mask; their positions
run on, which changes nothing, since RoPE's products depend on the distance of two tokens alone.
"""

import torch
from megatron.core.packed_seq_params import PackedSeqParams
from torch import Tensor

from megatron_recipe.config import Config
from megatron_recipe.model import transformer_engine_is_there


def lay_end_to_end(batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], PackedSeqParams]:
    """The micro-batch as one row, [1, micro_batch × length], and its documents for Transformer Engine."""
    cu_seqlens = batch["cu_seqlens"]
    length = batch["tokens"].shape[1]
    documents = PackedSeqParams(
        qkv_format="thd",
        cu_seqlens_q=cu_seqlens,
        cu_seqlens_kv=cu_seqlens,
        # an upper bound: the longest document itself would be another shape at each step
        max_seqlen_q=length,
        max_seqlen_kv=length,
    )
    return {name: tensor.view(1, -1) for name, tensor in batch.items() if name != "cu_seqlens"}, documents


def block_causal_mask(batch: dict[str, Tensor]) -> Tensor:
    """[micro_batch, 1, length, length], True where a token must not look: ahead, or into another document."""
    micro_batch, length = batch["tokens"].shape
    places = torch.arange(micro_batch * length, device=batch["tokens"].device)
    document = torch.bucketize(places, batch["cu_seqlens"], right=True).view(micro_batch, 1, length)
    ahead = torch.ones(length, length, dtype=torch.bool, device=places.device).triu(diagonal=1)
    return (ahead | (document.transpose(1, 2) != document)).unsqueeze(1)


def schedule_shape(config: Config) -> dict[str, int]:
    """Megatron's schedules send tensors of this shape between pipeline stages: `seq_length` and `micro_batch_size`."""
    length, micro_batch = config.model.sequence_length_tokens, config.batch.micro_batch
    if config.data.mask_between_documents and transformer_engine_is_there():
        return {"seq_length": length * micro_batch, "micro_batch_size": 1}
    return {"seq_length": length, "micro_batch_size": micro_batch}
