"""Duplicate removal: ours against datatrove's MinHash stages and the datasketch loop of tutorials, copies planted.

    python benchmarks/dedup.py FILE.jsonl[.xz] [--documents 2000] [--runs 3] [--peer-python PYTHON]
    python benchmarks/dedup.py FILE.jsonl[.xz] --million

Same documents in memory, one core, turn by turn. Among them are planted exact copies, copies at Jaccard 0.9 and above,
and relatives under 0.6; similarity is that of 5-character shingles. datasketch must be installed (it is no dependency),
and PYTHON must have what benchmarks/datatrove_minhash.py says; a peer that is missing is said to be absent.

A second table compares exact hashes, MinHash and SimHash. `precision` is the share of removed documents whose exact
Jaccard with the document they were removed for is at least 0.8. `recall` is the share found of planted copies, exact
ones and those at 0.9 and above (so that exact hashes have about half), `exact found` that of exact ones alone.
--million makes a million documents of FILE's, varied, and shows ours' time and peak memory.
"""

# ruff: noqa: E402
# before other imports: this folder must not be first on the path, its tokenize.py hides the standard library's
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import importlib.util
import json
import math
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.measure import HEADINGS, Runs, in_turn, machine, read_records, table, timed, write_records
from benchmarks.planted import RELATED, Planted, jaccard, plant, varied

THRESHOLD = 0.8
MILLION = 1_000_000
Result = dict[str, list[int]]


def main() -> None:
    """Plant copies, run all, print the tables and the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSONL with `text`, also .xz")
    parser.add_argument("--documents", type=int, default=2000, help="the first so many; the peers are slow")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter for datatrove's stages")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--task", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        measure(options.task[0], Path(options.task[1]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        (million if options.million else compare)(options, Path(scratch))


def compare(options: argparse.Namespace, folder: Path) -> None:
    """The whole benchmark in a scratch folder."""
    planted = plant(list(read_records(options.file, options.documents)))
    (folder / "documents").mkdir()
    write_records(folder / "documents" / "00000.jsonl", planted.records)
    texts = [record["text"] for record in planted.records]
    command = [sys.executable, __file__, str(options.file), "--task"]
    tasks = {name: [*command, name, str(folder)] for name in ("ours", "exact", "minhash", "simhash")}
    tasks |= peers(options, folder, command, texts)
    measured = in_turn(tasks, options.runs)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(
        f"{options.file.name}: {len(texts):,} documents, {megabytes:.1f} MB, planted {len(planted.exact)} exact copies,"
    )
    print(
        f"{len(planted.near)} at 0.9 and above, {len(planted.related)} under 0.6; median of {options.runs}; {machine()}"
    )
    shown = [name for name in ("datatrove", "datasketch", "ours") if name in measured]
    headings = [*HEADINGS, "removed", "exact found", "near found", "under 0.6 removed"]
    print(table(headings, [[*measured[n].row(n, megabytes), *found(measured[n], planted)] for n in shown]))
    print("\ncomparison of methods")
    rows = [method_row(name, measured[name], planted, texts) for name in ("exact", "minhash", "simhash")]
    print(table(["", "CPU s", "removed", "exact found", "recall", "precision", "lowest Jaccard"], rows))
    ratio = {n: measured[n].median / measured["ours"].median if n in measured else math.nan for n in shown_peers()}
    recall, precision, _ = quality(measured["ours"], planted, texts)
    line = " ".join(f"{name}_ratio={value:.1f}" for name, value in ratio.items())
    print(f"{line} recall={recall:.4f} precision={precision:.4f}")


def shown_peers() -> tuple[str, str]:
    """Names in the last line."""
    return ("datatrove", "datasketch")


def peers(options: argparse.Namespace, folder: Path, command: list[str], texts: list[str]) -> dict[str, list[str]]:
    """Commands of the peers that are installed; says which are not."""
    tasks = {}
    probe = [options.peer_python, "-c", "import datatrove, spacy, jieba, xxhash; assert xxhash.VERSION < '4'"]
    if subprocess.run(probe, capture_output=True).returncode == 0:
        path = str(folder / "documents" / "00000.jsonl")
        tasks["datatrove"] = [options.peer_python, "-m", "benchmarks.datatrove_minhash", path, language_of(texts)]
    else:
        print("datatrove's stages are absent: --peer-python lacks datatrove, spacy, jieba or xxhash below 4")
    if importlib.util.find_spec("datasketch"):
        tasks["datasketch"] = [*command, "datasketch", str(folder)]
    else:
        print("datasketch is absent: pip install datasketch")
    return tasks


def language_of(texts: list[str]) -> str:
    """The language whose word splitter datatrove is given."""
    text = "".join(texts)[:1_000_000]
    han = sum("\u4e00" <= character <= "\u9fff" for character in text)
    return "cmn_Hani" if han > 0.2 * len(text) else "eng"


def found(runs: Runs, planted: Planted) -> list[str]:
    """Removed documents: all, and of each kind of copy."""
    removed = set(runs.report["removed"])
    kinds = (planted.exact, planted.near, planted.related)
    return [f"{len(removed):,}", *(f"{len(removed & set(kind))}/{len(kind)}" for kind in kinds)]


def quality(runs: Runs, planted: Planted, texts: list[str]) -> tuple[float, float, float]:
    """Recall over planted copies at 0.9 and above, precision and lowest Jaccard over all that was removed."""
    removed, matched = runs.report["removed"], runs.report["matched"]
    copies = {*planted.exact, *planted.near}
    recall = len(copies & set(removed)) / len(copies)
    similarities = [jaccard(texts[one], texts[other]) for one, other in zip(removed, matched, strict=True)]
    right = sum(similarity >= THRESHOLD for similarity in similarities)
    return recall, right / max(len(removed), 1), min(similarities, default=1.0)


def method_row(name: str, runs: Runs, planted: Planted, texts: list[str]) -> list[str]:
    """For the table of methods; exact copies found are shown apart, since `recall` is over exact and near ones."""
    recall, precision, lowest = quality(runs, planted, texts)
    warning = " (!)" if lowest < RELATED else ""
    removed = f"{len(runs.report['removed']):,}"
    exact = len(set(planted.exact) & set(runs.report["removed"])) / max(len(planted.exact), 1)
    shown = [f"{exact:.1%}", f"{recall:.4f}", f"{precision:.4f}", f"{lowest:.2f}{warning}"]
    return [name, f"{runs.median:.2f}", removed, *shown]


def measure(name: str, folder: Path) -> None:
    """One measurement, in its own process; reports the numbers of removed documents and their matches."""
    from datatrove.data import Document

    if name == "stream":
        with timed() as report:
            report |= remove_duplicates(None, folder, folder / "documents")
        print(json.dumps({**report, "removed": len(report["removed"]), "matched": None}))
        return
    with (folder / "documents" / "00000.jsonl").open(encoding="utf-8") as lines:
        documents = [Document(**json.loads(line)) for line in lines]
    work: Callable[..., Result] = {
        "ours": remove_duplicates,
        "exact": exact_only,
        "minhash": minhash_only,
        "simhash": simhash_only,
        "datasketch": datasketch,
    }[name]
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        small = Path(first) / "documents"
        small.mkdir()
        write_records(small / "00000.jsonl", [{"text": d.text, "id": d.id} for d in documents[:2]])
        work(documents[:2], Path(first), small)  # imports what it needs
        with timed() as report:
            report |= work(documents, Path(second), folder / "documents")
    print(json.dumps(report))


def remove_duplicates(documents: list[Any] | None, scratch: Path, shards: Path) -> Result:
    """The pipeline's way: both signatures in one pass, both finders. Without documents, the shards are read."""
    from data_prep.dedup.exact import ExactSignatures, find_exact_duplicates
    from data_prep.dedup.near import MinHashBands, banding_for, find_near_duplicates

    blocks = [ExactSignatures(_made(scratch / "exact")), MinHashBands(_made(scratch / "bands"), banding_for(THRESHOLD))]
    removals, corpus = _signed(blocks, documents, shards)
    find_exact_duplicates(scratch / "exact", removals)
    for _ in find_near_duplicates(scratch / "bands", corpus, THRESHOLD, removals):
        pass
    removals.follow()
    return _result(removals)


def exact_only(documents: list[Any], scratch: Path, shards: Path) -> Result:
    """Hashes of whole texts."""
    from data_prep.dedup.exact import ExactSignatures, find_exact_duplicates

    removals, _ = _signed([ExactSignatures(_made(scratch / "exact"))], documents, shards)
    find_exact_duplicates(scratch / "exact", removals)
    return _result(removals)


def minhash_only(documents: list[Any], scratch: Path, shards: Path) -> Result:
    """MinHash without exact duplicates removed before."""
    from data_prep.dedup.near import MinHashBands, banding_for, find_near_duplicates

    bands = _made(scratch / "bands")
    removals, corpus = _signed([MinHashBands(bands, banding_for(THRESHOLD))], documents, shards)
    for _ in find_near_duplicates(bands, corpus, THRESHOLD, removals):
        pass
    return _result(removals)


def simhash_only(documents: list[Any], scratch: Path, shards: Path) -> Result:
    """SimHash, in batches of 500 documents."""
    import numpy as np

    from data_prep.dedup.shingles import normalised
    from data_prep.dedup.simhash import find_simhash_duplicates, fingerprints

    texts = [normalised(document.text) for document in documents]
    prints = np.concatenate([fingerprints(texts[at : at + 500]) for at in range(0, len(texts), 500)])
    matched = find_simhash_duplicates(prints)
    removed = np.flatnonzero(matched >= 0)
    return {"removed": removed.tolist(), "matched": matched[removed].tolist()}


def datasketch(documents: list[Any], scratch: Path, shards: Path) -> Result:
    """The loop of tutorials: a set of shingles, `update` for each, `query`, `insert` what is new."""
    from datasketch import MinHash, MinHashLSH

    from data_prep.dedup.shingles import SHINGLE_CHARACTERS, normalised

    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    removed, matched = [], []
    for number, document in enumerate(documents):
        text = normalised(document.text)
        signature = MinHash(num_perm=128)
        for shingle in {text[i : i + SHINGLE_CHARACTERS] for i in range(max(len(text) - SHINGLE_CHARACTERS + 1, 1))}:
            signature.update(shingle.encode("utf-8"))
        if matches := lsh.query(signature):
            removed.append(number)
            matched.append(int(matches[0]))
        else:
            lsh.insert(str(number), signature)
    return {"removed": removed, "matched": matched}


def _signed(blocks: list[Any], documents: list[Any] | None, shards: Path) -> tuple[Any, Any]:
    """Run signature blocks over the documents; empty removals and the corpus."""
    from datatrove.pipeline.readers import JsonlReader

    from data_prep.dedup.corpus import Corpus
    from data_prep.dedup.removal import Removals

    num_shards = len(list(shards.iterdir()))
    for rank in range(num_shards):
        if documents is None:
            stream = JsonlReader(str(shards), compression=None, add_file_path=False).run(None, rank, num_shards)
        else:
            stream = iter(documents)
        for block in blocks:
            stream = block.run(stream, rank, num_shards)
        for _ in stream:
            pass
    corpus = Corpus(shards)
    return Removals.none(len(corpus)), corpus


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _result(removals: Any) -> Result:
    removed = (removals.matched >= 0).nonzero()[0]
    return {"removed": removed.tolist(), "matched": removals.matched[removed].tolist()}


def million(options: argparse.Namespace, folder: Path) -> None:
    """Time and peak memory of a million documents in ten shards."""
    records = list(read_records(options.file))
    (folder / "documents").mkdir()
    documents = varied(records, MILLION)
    num_bytes = 0
    for shard in range(10):
        part = [next(documents) for _ in range(MILLION // 10)]
        num_bytes += sum(len(record["text"].encode()) for record in part)
        write_records(folder / "documents" / f"{shard:05d}.jsonl", part)
    del records, documents, part
    command = [sys.executable, __file__, str(options.file), "--task", "stream", str(folder)]
    runs = in_turn({"million": command}, 1)["million"]
    print(f"{MILLION:,} documents of {options.file.name}, varied, {num_bytes / 1e6:.0f} MB; {machine()}")
    print(table([*HEADINGS, "removed"], [[*runs.row("ours", num_bytes / 1e6), f"{runs.report['removed']:,}"]]))
    print(f"documents={MILLION} seconds={runs.median:.1f} peak_mb={runs.peak_mb:.0f}")


if __name__ == "__main__":
    main()
