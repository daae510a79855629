"""What Megatron computes from the imported models of the matrix, all in one process.

Run by test_families.py: python megatron_references.py FOLDER
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

import torch

from checkpoints_tools.from_hf import CHECKPOINT
from checkpoints_tools.megatron_logits import Reference, compute

TOKENS = 24


def reference_of(folder: Path, vocab_size: int) -> Reference:
    """Of the model in folder/imported, on random tokens; its values lie in folder/reference."""
    tokens = torch.randint(vocab_size, (2, TOKENS), generator=torch.Generator().manual_seed(3))
    is_real = torch.ones_like(tokens, dtype=torch.bool)
    work = folder / "reference"
    return Reference(work, folder / "imported" / CHECKPOINT, tokens, is_real, torch.float32, torch.float32)


def main() -> None:
    """Compute for every model in the folder; a model's name ends with its vocabulary."""
    for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        reference = reference_of(folder, int(folder.name.rsplit("_", 1)[1]))
        reference.folder.mkdir()
        compute(reference)


if __name__ == "__main__":
    main()
