"""The whole pipeline by input size: seconds, memory and disk of each stage. Run:

    python -m benchmarks.pipeline FILE.jsonl[.xz] ... [--megabytes 40,160,640] [--recipe web] [--workers 1]

Documents of a given total size are drawn from the paragraphs of the files, a new mix each, so that a corpus of any size
has the files' text without being copies of them. Every size runs in a process of its own; peak memory is the largest of
that process and its workers. Prints a table and, last, a line of ``name=value`` pairs.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import read_records, table

PARAGRAPHS_A_DOCUMENT = 8
SHARDS = 8


def main() -> int:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="+")
    parser.add_argument("--megabytes", default="40,160,640")
    parser.add_argument("--recipe", default="documents")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--folder", type=Path, default=Path("work/pipeline_benchmark"))
    parser.add_argument("--run", help=argparse.SUPPRESS)  # one size, in the process that is measured
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(measure(Path(arguments.run), arguments)))
        return 0
    paragraphs = list(split_paragraphs(arguments.corpus))
    cores = arguments.workers or len(os.sched_getaffinity(0))
    rows, rates = [], []
    for megabytes in map(int, arguments.megabytes.split(",")):
        folder = arguments.folder / str(megabytes)
        shutil.rmtree(folder, ignore_errors=True)
        size = write_corpus(paragraphs, folder / "corpus", megabytes * 1_000_000) / 1e6
        command = [sys.executable, "-m", "benchmarks.pipeline", *sys.argv[1:], "--run", str(folder)]
        result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
        seconds = sum(result["seconds"].values())
        rates.append(size / seconds)
        rows += [
            [f"{size:,.0f}", stage, f"{value:.1f}", f"{size / value:.1f}", f"{3.6 * size / value / cores:.1f}", "", ""]
            for stage, value in result["seconds"].items()
        ]
        totals = [f"{seconds:.1f}", f"{rates[-1]:.1f}", f"{3.6 * rates[-1] / cores:.1f}"]
        rows.append([f"{size:,.0f}", "all", *totals, f"{result['peak_mb']:,.0f}", f"{result['disk_mb']:,.0f}"])
        shutil.rmtree(folder, ignore_errors=True)
    print(table(["MB in", "stage", "seconds", "MB/s", "GB/hour/core", "peak MB", "disk MB"], rows))
    print(f"cores={cores} mb_per_s={','.join(f'{rate:.2f}' for rate in rates)} linearity={rates[-1] / rates[0]:.2f}")
    return 0


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Run the pipeline on ``folder/corpus``, and say what each stage took."""
    from data_prep.pipeline import prepare
    from data_prep.recipe import load_recipe

    values = {
        "sources": (folder / "corpus",),
        "out": folder / "dataset",
        "work": folder / "work",
        "tokenizer.vocab_size": arguments.vocab_size,
        "executor.workers": arguments.workers,
    }
    results = prepare(load_recipe(arguments.recipe, values))
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "corpus" not in path.parts)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"seconds": {r.name: r.seconds for r in results}, "peak_mb": peak / 1024, "disk_mb": disk / 1e6}


def split_paragraphs(paths: list[Path]) -> Iterator[str]:
    """The paragraphs of all documents; poems and other short documents are one."""
    for path in paths:
        for record in read_records(path):
            yield from (part for part in record["text"].split("\n\n") if part.strip())


def write_corpus(paragraphs: list[str], folder: Path, num_bytes: int) -> int:
    """Write about `num_bytes` of documents in shards, and return the bytes of their text."""
    generator = random.Random(num_bytes)
    folder.mkdir(parents=True)
    written = number = 0
    files = [(folder / f"{shard}.jsonl").open("w", encoding="utf-8") for shard in range(SHARDS)]
    while written < num_bytes:
        text = "\n\n".join(generator.choices(paragraphs, k=PARAGRAPHS_A_DOCUMENT))
        record = {"text": text, "id": f"{number}"}
        files[number % SHARDS].write(json.dumps(record, ensure_ascii=False) + "\n")
        written += len(text.encode())
        number += 1
    for file in files:
        file.close()
    return written


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"took {time.monotonic() - started:.0f} s", file=sys.stderr)
    sys.exit(code)
