"""Logits of a checkpoint, computed by Megatron-Core itself on the CPU in FP32: the reference for an export.

The model is built by the trainer's own code and loaded by Megatron's `dist_checkpointing`, so nothing of the
conversion takes part. It runs in a process of its own, without a GPU in sight: Megatron keeps its process groups in
globals, and Transformer Engine would multiply FP32 in TF32, too coarse for a comparison.
Run by compare_logits.py: python -m checkpoints_tools.megatron_logits REQUEST.pt ANSWER.pt
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from megatron_recipe.errors import CheckpointError


def megatron_logits(checkpoint: Path, documents: list[Tensor], rounded_to: torch.dtype) -> list[Tensor]:
    """FP32 logits [length, padded vocabulary] of each document (token ids, [length]).

    rounded_to: type that the weights are rounded to first, as the export's are.
    Raises CheckpointError where the other process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder) / "request.pt", Path(folder) / "answer.pt"
        torch.save(
            {"checkpoint": str(checkpoint.absolute()), "documents": documents, "rounded_to": rounded_to}, request
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "checkpoints_tools.megatron_logits", request, answer],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "WORLD_SIZE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            cause = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise CheckpointError(f"{checkpoint}: Megatron could not compute its logits: {cause[-1]}")
        logits: list[Tensor] = torch.load(answer)
    return logits


def compute(checkpoint: Path, documents: list[Tensor], rounded_to: torch.dtype) -> list[Tensor]:
    """Build, load, run. See `megatron_logits`."""
    from megatron.core import dist_checkpointing

    from checkpoints_tools.megatron_checkpoint import checkpoint_facts, model_config
    from megatron_recipe import parallel
    from megatron_recipe.model import build_gpt
    from megatron_recipe.recipes import load_config

    facts = checkpoint_facts(checkpoint)
    config = load_config("gpt_tiny_cpu").model_copy(update={"model": model_config(facts)})
    with parallel.process_groups(config), torch.inference_mode():
        model = build_gpt(config, facts["vocab_size"]).eval()
        # The optimizer's tensors are in the checkpoint too and are not asked for.
        state = model.sharded_state_dict(metadata={"singleton_local_shards": False})
        model.load_state_dict(dist_checkpointing.load({"model": state}, str(checkpoint))["model"])
        model.to(rounded_to).float()
        return [_logits(model, tokens) for tokens in documents]


def _logits(model: torch.nn.Module, tokens: Tensor) -> Tensor:
    positions = torch.arange(len(tokens)).unsqueeze(0)
    logits: Tensor = model(tokens.unsqueeze(0), positions, attention_mask=None)
    return logits[0].clone()


def main() -> None:
    """Answer the request file with the answer file."""
    request = torch.load(sys.argv[1])
    answer = compute(Path(request["checkpoint"]), request["documents"], request["rounded_to"])
    torch.save(answer, sys.argv[2])


if __name__ == "__main__":
    main()
