"""Hidden states and logits of a checkpoint, computed by Megatron-Core itself: the reference for an export.

The model is built by the trainer's own code and loaded by Megatron's `dist_checkpointing`, one layer at a time, so
nothing of the conversion takes part. It runs in a process of its own: Megatron keeps its process groups in globals, and
FP32 needs a process without a GPU in sight, since Transformer Engine would multiply in TF32, too coarse to compare.
Run by compare_logits.py: python -m checkpoints_tools.megatron_logits FOLDER
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints_tools.layer_by_layer import stream
from checkpoints_tools.raw_values import bytes_of, fill
from megatron_recipe.errors import CheckpointError

REQUEST, LOGITS = "request.pt", "logits.bin"
ERROR_LINE = re.compile(r"(\[rank\d+\]: ?)?[\w.]+(Error|Exception): ")


@dataclass(frozen=True)
class Reference:
    """What Megatron computed, in files: after each stage of the model FP32 values for each token."""

    folder: Path
    checkpoint: Path
    tokens: Tensor
    """[sequences, length], shorter ones filled up at their ends; attention looks back only, so that changes nothing."""
    is_real: Tensor
    """[sequences, length], False where a sequence was filled up."""
    rounded_to: torch.dtype
    arithmetic: torch.dtype

    def hidden(self, stage: int) -> Tensor:
        """Hidden states [sequences, length, hidden] after the embedding (0), each layer (1, …) and the final norm."""
        path = self.folder / hidden_file(stage)
        return _read(path, 0, (*self.tokens.shape, path.stat().st_size // (4 * self.tokens.numel())))

    def logits(self, sequence: int, start: int, end: int) -> Tensor:
        """Logits [end - start, padded vocabulary] of some tokens of one sequence."""
        path = self.folder / LOGITS
        width = path.stat().st_size // (4 * self.tokens.numel())
        first = sequence * self.tokens.shape[1] + start
        return _read(path, first * width * 4, (end - start, width))


def hidden_file(stage: int) -> str:
    """Name of the file with the hidden states after a stage."""
    return f"hidden_{stage:03d}.bin"


def _read(path: Path, start: int, shape: tuple[int, ...]) -> Tensor:
    result = torch.empty(shape)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        fill(file, result)
    return result


def megatron_reference(
    checkpoint: Path,
    documents: list[Tensor],
    work_folder: Path,
    *,
    rounded_to: torch.dtype,
    arithmetic: torch.dtype = torch.float32,
) -> Reference:
    """Let Megatron compute a checkpoint's hidden states and logits, in a process of its own.

    Args:
        documents: token ids, one dimension each, no longer than the model's sequences.
        work_folder: an empty folder for what it computes.
        rounded_to: type that the weights are rounded to first, as the export's are.
        arithmetic: type to compute in; bfloat16 uses a GPU where there is one.

    Raises:
        CheckpointError: the other process fails.
    """
    length = max(len(document) for document in documents)
    tokens = torch.zeros(len(documents), length, dtype=torch.int64)
    is_real = torch.zeros_like(tokens, dtype=torch.bool)
    for row, document in enumerate(documents):
        tokens[row, : len(document)], is_real[row, : len(document)] = document, True
    reference = Reference(work_folder, checkpoint.absolute(), tokens, is_real, rounded_to, arithmetic)
    torch.save(
        {**vars(reference), "folder": str(work_folder), "checkpoint": str(checkpoint.absolute())}, _request(reference)
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "checkpoints_tools.megatron_logits", work_folder],
        env={
            **os.environ,
            "WORLD_SIZE": "1",
            **({} if device_for(arithmetic).type == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        cause = next((line for line in reversed(lines) if ERROR_LINE.match(line)), lines[-1])
        raise CheckpointError(f"{checkpoint}: Megatron could not compute its logits: {cause[:500]}")
    return reference


def _request(reference: Reference) -> Path:
    return reference.folder / REQUEST


def device_for(arithmetic: torch.dtype) -> torch.device:
    """A GPU, where there is one, for all but FP32."""
    return torch.device("cuda" if arithmetic != torch.float32 and torch.cuda.is_available() else "cpu")


def compute(reference: Reference) -> None:
    """Build the model, run it, and write what each stage gives. In the other process."""
    from checkpoints_tools.megatron_checkpoint import checkpoint_facts, model_config

    facts = checkpoint_facts(reference.checkpoint)  # before Megatron's import, which takes seconds
    from megatron_recipe.light_imports import light_imports
    from megatron_recipe.recipes import load_config

    with light_imports():
        from megatron_recipe import parallel
        from megatron_recipe.model import build_gpt

    precision = "fp32" if reference.arithmetic == torch.float32 else "bf16"
    config = load_config("gpt_tiny_cpu", (f"precision.dtype={precision}",)).model_copy(
        update={"model": model_config(facts)}
    )
    device = device_for(reference.arithmetic)
    with parallel.process_groups(config), torch.inference_mode():
        with torch.device("meta"):
            model = build_gpt(config, facts["vocab_size"]).eval()
        parts = _Parts(model, reference, device)
        parts.stream("embedding.", model.embedding, keep=config.model.tied_embeddings)
        for index, layer in enumerate(model.decoder.layers):
            parts.stream(f"decoder.layers.{index}.", layer)
        parts.stream("decoder.final_layernorm.", model.decoder.final_layernorm)
        if not config.model.tied_embeddings:
            model.output_layer.register_forward_pre_hook(lambda *_: parts.fill("output_layer.", model.output_layer))
        tokens = reference.tokens.to(device)
        positions = torch.arange(tokens.shape[1], device=device).expand_as(tokens)
        _write(reference.folder / LOGITS, model(tokens, positions, attention_mask=None))


class _Parts:
    """Fills the parts of a Megatron model from the checkpoint and writes what they give."""

    def __init__(self, model: Any, reference: Reference, device: torch.device) -> None:
        self.model, self.reference, self.device = model, reference, device
        self.stages = 0

    def stream(self, prefix: str, part: torch.nn.Module, *, keep: bool = False) -> None:
        """Let one part be streamed; its output is the next stage."""
        stage = self.stages
        self.stages += 1
        path = self.reference.folder / hidden_file(stage)
        # Megatron's hidden states are [length, sequences, hidden]
        stream(part, lambda: self.fill(prefix, part), lambda out: _write(path, out.transpose(0, 1)), keep=keep)

    def fill(self, prefix: str, part: torch.nn.Module) -> None:
        """Load the weights of one part, rounded as the export's."""
        from megatron.core import dist_checkpointing

        part.to_empty(device=self.device)
        state = self.model.sharded_state_dict(metadata={"singleton_local_shards": False})
        # Transformer Engine's scales: not there in every checkpoint, and nothing to a layer without it
        own = {name: one for name, one in state.items() if name.startswith(prefix) and "_extra_state" not in name}
        wanted = {name: self._one_layer(one, prefix) for name, one in own.items()}
        # its check that all of a stacked weight is asked for cannot hold: one layer is
        loaded = dist_checkpointing.load(
            {"model": wanted}, str(self.reference.checkpoint), validate_access_integrity=False
        )["model"]
        loaded = {name: weight.view(own[name].data.shape) for name, weight in loaded.items()}
        lacking = {prefix + name for name, _ in part.named_parameters()} - loaded.keys()
        assert not lacking, f"{lacking} were not loaded"
        self.model.load_state_dict(loaded, strict=False)
        for parameter in part.parameters():
            parameter.data.copy_(parameter.data.to(self.reference.rounded_to))

    def _one_layer(self, sharded: Any, prefix: str) -> Any:
        """Megatron's entry of a weight, asking for one layer of a stacked one, which its own entry cannot do alone."""
        from megatron.core.dist_checkpointing import ShardedTensor

        in_layer = re.match(r"decoder\.layers\.(\d+)\.", prefix)
        if not in_layer:
            return sharded
        place = (0, int(in_layer[1]), self.model.config.num_layers)
        return ShardedTensor.from_rank_offsets(sharded.key, sharded.data.detach().unsqueeze(0), place)


def _write(path: Path, values: Tensor) -> None:
    path.write_bytes(bytes_of(values.float().cpu().contiguous()))


def main() -> None:
    """Answer the request in the folder."""
    from megatron_recipe.parent_death import die_with_parent

    die_with_parent()
    request = torch.load(Path(sys.argv[1]) / REQUEST)
    reference = Reference(**{**request, "folder": Path(request["folder"]), "checkpoint": Path(request["checkpoint"])})
    if device_for(reference.arithmetic).type == "cuda":
        # a module that cannot be imported: Megatron's own layers are the reference, with Transformer Engine or without
        sys.modules["transformer_engine"] = None  # type: ignore[assignment]
    compute(reference)


if __name__ == "__main__":
    main()
