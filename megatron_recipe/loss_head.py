"""From logits to the loss of each token, without a second copy of the logits.

The gradient is computed in FP32 from 16-bit logits and written over them: 2 bytes a logit instead of the 10 of
Megatron's. With a vocabulary of 32,000 that is 1 GiB for 4,096 tokens.
"""

from megatron.core import parallel_state
from megatron.core.models.gpt.gpt_model import GPTModel
from torch import Tensor

from megatron_recipe.kernel_trial import loss_runs_here
from megatron_recipe.kernels import Kernels


def gpt_model(chosen: Kernels | None, vocabulary: int, padded: int) -> type[GPTModel]:
    """The kind of GPT model whose loss is computed as chosen; None is Megatron's.

    vocabulary, padded: tokens, and logits of each. Where quack cannot compute with so many, Transformer Engine does.
    """
    if chosen is None or chosen.loss == "megatron":
        return GPTModel
    if chosen.loss == "fused" and loss_runs_here(vocabulary, padded):
        return GPTModelWithOnePassLoss
    return GPTModelWithOverwrittenLogits


class GPTModelWithOverwrittenLogits(GPTModel):
    """Transformer Engine's cross entropy, which writes over the logits on the way back. Needs BF16 or FP32."""

    def compute_language_model_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Losses in nats, FP32, [batch, length]. labels: [batch, length]; logits: [length, batch, vocabulary]."""
        from transformer_engine.pytorch.cross_entropy import parallel_cross_entropy

        group = parallel_state.get_tensor_model_parallel_group()
        losses: Tensor = parallel_cross_entropy(
            logits.contiguous(),
            labels.transpose(0, 1).contiguous(),
            dist_process_group=group if group.size() > 1 else None,
            overwrite_input=True,
        )
        return losses.transpose(0, 1).contiguous()


class GPTModelWithOnePassLoss(GPTModel):
    """`one_pass_loss`, which writes over the logits at once. Needs BF16 and whole rows of logits on each rank."""

    def compute_language_model_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Losses in nats, FP32, [batch, length]. labels: [batch, length]; logits: [length, batch, vocabulary]."""
        from megatron_recipe.one_pass_loss import cross_entropy

        rows = logits.contiguous().view(-1, logits.shape[-1])
        losses = cross_entropy(rows, labels.transpose(0, 1).reshape(-1))
        return losses.view(logits.shape[:2]).transpose(0, 1).contiguous()
