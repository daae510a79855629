"""A dataset folder of made-up tokens, for a benchmark on a machine where no text lies.

It is read by the trainer as any other: the same files, index, loader processes. Ids are drawn so that each is as
frequent as its rank in text is (Zipf's law), in documents of about a thousand tokens.
"""

from pathlib import Path

import numpy as np

from data_prep.manifest import write_manifest
from data_prep.megatron_writer import MegatronWriter
from megatron_recipe.files import sha256_file

DOCUMENT_TOKENS = 1_000
BYTES_PER_TOKEN = 4


def write_stand_in(folder: Path, vocab_size: int, train_tokens: int, seed: int = 1) -> Path:
    """Write the dataset, with a twentieth as many tokens to validate on; returns its folder."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    splits = {
        "train": _write_split(folder / "train", vocab_size, train_tokens, random),
        "validation": _write_split(folder / "validation", vocab_size, train_tokens // 20, random),
    }
    documents = sum(int(str(split["documents"])) for split in splits.values())
    write_manifest(
        folder,
        {
            "tokenizer": {
                "kind": "none",
                "file": "",
                "vocab_size": vocab_size,
                "eod_id": 0,
                "sha256": "",
                "golden": [],
            },
            "splits": splits,
            "counts": {"read": documents, "kept": documents, "dropped": {}},
            "sources": [],
            "settings": {"made up for a benchmark": True},
        },
    )
    return folder


def _write_split(prefix: Path, vocab_size: int, tokens: int, random: np.random.Generator) -> dict[str, object]:
    count = max(1, tokens // DOCUMENT_TOKENS)
    # ids from 1, whose logarithm is spread evenly: frequency falls with the inverse of the rank
    ids = [
        np.exp(random.random(int(length)) * np.log(vocab_size - 1)).astype(np.int64)
        for length in random.integers(DOCUMENT_TOKENS // 2, DOCUMENT_TOKENS * 3 // 2, count)
    ]
    with MegatronWriter(prefix, vocab_size, eod_id=0) as writer:
        writer.add_documents(ids)
    total = sum(len(one) + 1 for one in ids)
    return {
        "documents": count,
        "tokens": total,
        "bytes": total * BYTES_PER_TOKEN,
        "characters": total * BYTES_PER_TOKEN,
        "dtype": str(writer.dtype),
        "sha256": {"bin": sha256_file(prefix.with_suffix(".bin")), "idx": sha256_file(prefix.with_suffix(".idx"))},
    }
