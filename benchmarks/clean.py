"""Speed of each cleaning block and what it drops. Run: python -m benchmarks.clean FILE.jsonl[.xz] [--show 20]

Blocks run one after another over documents in memory, each over what the one before kept, as in the pipeline; time is
CPU time of this process, which uses one core, and megabytes are UTF-8 bytes of the text that the block was given.
"""

import argparse
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, read_records, table
from data_prep.clean.catalog import DEFAULT_CLEANERS, DOCUMENT_CLEANERS, build_cleaners

ORDERS = {"web": DEFAULT_CLEANERS, "documents": DOCUMENT_CLEANERS}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--order", choices=ORDERS, default="web", help="which default list of blocks")
    parser.add_argument("--apart", action="store_true", help="give every block all documents (labelled by `language`)")
    parser.add_argument("--limit", type=int, help="documents to read")
    parser.add_argument("--show", type=int, default=0, help="dropped documents to print for each reason")
    options = parser.parse_args()
    records = list(read_records(options.file, options.limit))
    print(f"{options.file.name}: {len(records):,} documents, {machine()}")
    rows, dropped = measure(ORDERS[options.order], records, options.apart)
    print(table(["block", "MB/s", "kept %", "dropped"], [row[:4] for row in rows]))
    for name, _, _, _, reasons in rows:
        if reasons:
            print(f"{name}: " + ", ".join(f"{reason} {count}" for reason, count in reasons))
    for reason, texts in dropped.items():
        for text in random.Random(1).sample(texts, min(options.show, len(texts))):
            print(f"\n=== {reason}: {text[:600]!r}")


def measure(
    entries: list[dict[str, dict[str, Any]]], records: list[dict[str, Any]], apart: bool
) -> tuple[list[Any], dict[str, list[str]]]:
    """A row for each block and for all together, and the texts by the reason they were dropped for."""
    from datatrove.data import Document

    documents = [Document(text=r["text"], id=r["id"], metadata=dict(r["metadata"])) for r in records]
    rows: list[Any] = []
    dropped: dict[str, list[str]] = {}
    all_seconds, num_bytes = 0.0, sum(len(d.text.encode()) for d in documents)
    for block in build_cleaners(entries):
        given = sum(len(d.text.encode()) for d in documents)
        began = time.process_time()
        originals = {d.id: d for d in documents}
        kept = list(block.run(iter(documents)))
        seconds = time.process_time() - began
        all_seconds += seconds
        kept_ids = {d.id for d in kept}
        reasons = {k.removeprefix("dropped_"): int(v.total) for k, v in block.stats.stats.items() if "dropped_" in k}
        other = {k: int(v.total) for k, v in block.stats.stats.items() if k.startswith(("masked_", "lines_"))}
        share = 100 * len(kept) / max(len(documents), 1)
        counted = Counter(reasons | other).most_common()
        name = type(block).__name__
        rows.append([name, f"{given / 1e6 / seconds:.1f}", f"{share:.2f}", str(len(documents) - len(kept)), counted])
        for identifier in originals.keys() - kept_ids:
            reason = block.filter(originals[identifier])[1] if hasattr(block, "filter") else ""
            dropped.setdefault(f"{name} {reason}", []).append(originals[identifier].text)
        if not apart:
            documents = kept
    rows.append(["all", f"{num_bytes / 1e6 / all_seconds:.1f}", f"{100 * len(kept) / len(records):.2f}", "", []])
    return rows, dropped


if __name__ == "__main__":
    main()
