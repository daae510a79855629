"""Train small runs of different architectures with the real trainer, in a process of its own.

Run by conftest.py: python train_small_runs.py DATASET RUNS
"""

import sys
from pathlib import Path

ARCHITECTURES = {
    "tied": (
        "model.num_heads=4",
        "model.num_kv_groups=2",
        "model.head_dim=16",
        "model.tied_embeddings=true",
        "model.rope_theta=500000",
        "model.norm_epsilon=1e-6",
    ),
    # heads wider than hidden / heads, one key-value group, norms of queries and keys
    "untied_qk_norm": (
        "model.num_heads=3",
        "model.num_kv_groups=1",
        "model.head_dim=32",
        "model.tied_embeddings=false",
        "model.qk_norm=true",
        "model.vocab_multiple_of=192",
    ),
}


def settings(dataset: str, architecture: str) -> tuple[str, ...]:
    """Overrides of the tiny recipe for one architecture."""
    return (
        f"data.datasets={dataset}",
        "model.num_layers=3",
        "model.hidden_size=64",
        "model.ffn_hidden_size=96",
        "model.sequence_length_tokens=64",
        "model.init_std=0.2",  # far from uniform logits, so that a wrong layout shows
        "batch.global_batch_size_samples=4",
        "batch.micro_batch_size_samples=4",
        "train.steps=4",
        "train.validate_every_steps=2",
        "train.validation_samples=8",
        "checkpoint.save_every_steps=2",
        *ARCHITECTURES[architecture],
    )


def main() -> None:
    from megatron_recipe.recipes import load_config
    from megatron_recipe.train import train

    dataset, runs = sys.argv[1:]
    for architecture in ARCHITECTURES:
        train(load_config("gpt_tiny_cpu", settings(dataset, architecture)), Path(runs) / architecture)


if __name__ == "__main__":
    main()
