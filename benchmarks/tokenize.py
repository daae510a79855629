"""Tokenizing to Megatron's .bin/.idx: ours against datatrove and against the loop that most scripts have.

    python benchmarks/tokenize.py FILE.jsonl[.xz] [--runs 3] [--documents N] [--vocab-size 32000]

Same documents, same tokenizer, one core, turn by turn; the documents are in memory as datatrove Documents when the
clock starts, and so is the tokenizer: an hour's run loads it once. Peers:

* bpe: datatrove's MegatronDocumentTokenizer with a byte-level BPE tokenizer.json, trained here on a sample;
* sentencepiece: a loop of `encode` and Megatron-Core's `IndexedDatasetBuilder.add_document`, with a BPE model.

The last line says by how much ours is faster, and whether the files are equal to the byte.
"""

import sys
from pathlib import Path

# ruff: noqa: E402
# before other imports: this folder must not be first on the path, it hides the standard library's `tokenize`
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.measure import HEADINGS, in_turn, machine, read_records, table, timed, write_records

EOD = "<|endoftext|>"
WORD_MARK = "\u2581"
TRAINING_CHARACTERS = 8_000_000
Work = Callable[[list[Any]], Path]
PAIRS = {"bpe": ("datatrove", "ours_bpe"), "sentencepiece": ("loop", "ours_sentencepiece")}


def main() -> None:
    """Train both tokenizers, run all four, print the table and the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSONL with `text`, also .xz")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--documents", type=int, help="only so many")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--task", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        name, folder = options.task
        measure(name, Path(folder))
        return
    with tempfile.TemporaryDirectory() as scratch:
        compare(options, Path(scratch))


def compare(options: argparse.Namespace, folder: Path) -> None:
    """The whole benchmark in a scratch folder."""
    records = list(read_records(options.file, options.documents))
    # ours encodes these as text; datatrove ends a document at the first, and SentencePiece takes the second for a space
    plain = [r for r in records if EOD not in r["text"] and WORD_MARK not in r["text"]]
    write_records(folder / "documents.jsonl", plain)
    texts = [record["text"] for record in plain]
    train(texts, folder, options.vocab_size)
    command = [sys.executable, __file__, str(options.file), "--task"]
    names = [name for pair in PAIRS.values() for name in pair]
    measured = in_turn({name: [*command, name, str(folder)] for name in names}, options.runs)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{options.file.name}: {len(plain):,} documents, {megabytes:.1f} MB; vocabulary {options.vocab_size:,}")
    print(f"{len(records) - len(plain)} documents left out (they spell a special token)")
    print(f"median of {options.runs}; {machine()}")
    print(table(HEADINGS, [measured[name].row(name, megabytes) for name in names]))
    ratios = {kind: measured[peer].median / measured[ours].median for kind, (peer, ours) in PAIRS.items()}
    equal = all(measured[peer].report == measured[ours].report for peer, ours in PAIRS.values())
    print(" ".join(f"{kind}_ratio={ratio:.1f}" for kind, ratio in ratios.items()), f"ids_equal={equal}")


def train(texts: list[str], folder: Path, vocab_size: int) -> None:
    """Write ``tokenizer.json``, byte-level BPE with an end-of-document token, and ``tokenizer.model``."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    from data_prep.tokenizers.train import sample, train_bpe

    pieces = sample(texts, TRAINING_CHARACTERS, seed=1)
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[EOD], initial_alphabet=alphabet, show_progress=False
    )
    byte_level.train_from_iterator(pieces, trainer)
    byte_level.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer.model").write_bytes(train_bpe(pieces, vocab_size))


def measure(name: str, folder: Path) -> None:
    """One measurement, in its own process; reports the checksums of what it wrote."""
    from datatrove.data import Document

    documents = [Document(**record) for record in map(json.loads, (folder / "documents.jsonl").open(encoding="utf-8"))]
    prepare = {"datatrove": datatrove, "loop": loop}.get(name, ours)
    model = folder / ("tokenizer.json" if name in PAIRS["bpe"] else "tokenizer.model")
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        prepare(model, Path(first))(documents[:1])  # imports what it needs
        work = prepare(model, Path(second))
        with timed() as report:
            prefix = work(documents)
        for suffix in ("bin", "idx"):
            report[suffix] = hashlib.sha256(prefix.with_suffix(f".{suffix}").read_bytes()).hexdigest()
        print(json.dumps(report))


def datatrove(model: Path, folder: Path) -> Work:
    """datatrove's block."""
    from datatrove.pipeline.tokens.megatron_tokenizer import MegatronDocumentTokenizer

    block = MegatronDocumentTokenizer(str(folder), tokenizer_name_or_path=str(model), eos_token=EOD)
    block.tokenizer.get_vocab_size()  # loads it

    def work(documents: list[Any]) -> Path:
        block.run(iter(documents))
        return folder / "00000_tokens"

    return work


def loop(model: Path, folder: Path) -> Work:
    """SentencePiece and Megatron-Core, document by document."""
    import sentencepiece
    import torch
    from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder

    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(model))
    eod = tokenizer.piece_to_id("<|end_of_document|>")
    dtype = DType.optimal_dtype(tokenizer.get_piece_size())

    def work(documents: list[Any]) -> Path:
        builder = IndexedDatasetBuilder(str(folder / "data.bin"), dtype=dtype)
        for document in documents:
            ids = [*tokenizer.encode(document.text), eod]
            builder.add_document(torch.tensor(ids), [len(ids)])
        builder.finalize(str(folder / "data.idx"))
        return folder / "data"

    return work


def ours(model: Path, folder: Path) -> Work:
    """The block of data_prep, with nothing held out."""
    from data_prep.tokenize_documents import TokenizeDocuments, part

    block = TokenizeDocuments(model, folder, share=0.0, seed=1)
    assert block.encoder.vocab_size  # loads it

    def work(documents: list[Any]) -> Path:
        for _ in block.run(iter(documents)):
            pass
        return part(folder, 0, "train")

    return work


if __name__ == "__main__":
    main()
