"""A small dataset folder for tests, made with the project's own tokenizer trainer and writer."""

import argparse
import difflib
import inspect
import json
import random
import textwrap
from pathlib import Path

import numpy as np

from data_prep.manifest import write_manifest
from data_prep.megatron_writer import MegatronWriter
from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from data_prep.tokenizers.train import sample, train_bpe
from megatron_recipe.files import sha256_file

CHINESE = (
    "训练一个模型需要数据、算力和耐心。清洗文本，去掉重复，再训练分词器。"
    "每一步都可以中断后继续。损失下降，模型学会续写。"
)
AWKWARD = (
    "runs " + "-" * 37 + "=" * 64 + " " * 23 + "x\n\n\n\t\t\tend",
    "  leading and trailing spaces   ",
    "digits 1234567890 3.14159 2024年10月",
    "emoji 😀🤖👩‍👩‍👧 and marks ▁▁ ▅ \u3000\ufeff\xa0 é e\u0301",
    "this spells <|end_of_document|> and <|unk|> and <0x41> and <s></s>",
    "\r\n windows\r\nlines \x00\x01 \U0010fffd",
    CHINESE * 3,
)


def documents() -> list[tuple[str, str, str]]:
    """(text, source, language) of 200 documents."""
    generator = random.Random(0)
    code = inspect.getsource(argparse) + inspect.getsource(difflib) + inspect.getsource(textwrap)
    pieces = code.split("\n\n")
    english = [("\n\n".join(generator.sample(pieces, 6)), "docs", "en") for _ in range(120)]
    sentences = CHINESE.replace("。", "。\n").split("\n")
    chinese = [("".join(generator.choices(sentences, k=12)) or CHINESE, "idioms", "zh") for _ in range(80)]
    return english + chinese


def write_dataset(folder: Path, vocab_size: int = 500) -> Path:
    """Write train and validation splits, validation.jsonl, the tokenizer and the manifest."""
    kept = documents()
    held_out = [(text, "awkward", "en") for text in AWKWARD] + kept[::10]
    train = [document for index, document in enumerate(kept) if index % 10]
    (folder / "tokenizer").mkdir(parents=True)
    model = folder / "tokenizer/tokenizer.model"
    model.write_bytes(train_bpe(sample([text for text, _, _ in train], 10**6, 0), vocab_size))
    tokenizer = SentencePieceTokenizer(model)
    splits = {
        name: write_split(folder / name, docs, tokenizer) for name, docs in (("train", train), ("validation", held_out))
    }
    with (folder / "validation.jsonl").open("w", encoding="utf-8") as file:
        for index, (text, source, language) in enumerate(held_out):
            record = {"text": text, "id": str(index), "metadata": {"source": source, "language": language}}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    write_manifest(
        folder,
        {
            "tokenizer": {
                "kind": "sentencepiece-bpe",
                "file": "tokenizer/tokenizer.model",
                "vocab_size": vocab_size,
                "eod_id": tokenizer.eod_id,
                "sha256": sha256_file(model),
                "golden": tokenizer.golden(),
            },
            "splits": splits,
            "counts": {"read": len(kept) + len(AWKWARD), "kept": len(kept) + len(AWKWARD), "dropped": {}},
            "sources": [
                {"name": "docs", "license": "PSF-2.0", "language": "en", "documents": 120, "bytes": 10**6},
                {"name": "idioms", "license": "MIT", "language": "zh", "documents": 80, "bytes": 10**5},
            ],
            "settings": {},
        },
    )
    return folder


def write_split(prefix: Path, docs: list[tuple[str, str, str]], tokenizer: SentencePieceTokenizer) -> dict[str, object]:
    """Write one split; returns its entry of the manifest."""
    texts = [text for text, _, _ in docs]
    ids = [np.asarray(tokenizer.encode(text)) for text in texts]
    with MegatronWriter(prefix, tokenizer.vocab_size, tokenizer.eod_id) as writer:
        writer.add_documents(ids)
    return {
        "documents": len(docs),
        "tokens": sum(len(one) + 1 for one in ids),
        "bytes": sum(len(text.encode()) for text in texts),
        "characters": sum(map(len, texts)),
        "dtype": "uint16",
        "sha256": {"bin": sha256_file(prefix.with_suffix(".bin")), "idx": sha256_file(prefix.with_suffix(".idx"))},
    }
