"""The same recipe on datatrove's three executors must give the same bytes. Run (as root, for the one-node Slurm):

    source benchmarks/one_node_slurm.sh start /tmp/slurm     # leave out where there is a cluster
    python -m benchmarks.executors FILE.jsonl [--kinds local,slurm,ray] [--folder FOLDER]

The folder must be one that all nodes see. Prints a table and, last, a line of ``name=value`` pairs.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

from data_prep.pipeline import prepare
from data_prep.recipe import load_recipe
from megatron_recipe.files import sha256_file

FILES = ("train.bin", "train.idx", "validation.bin", "validation.idx", "validation.jsonl")


def main() -> int:
    """Returns 0 if all datasets are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="+")
    parser.add_argument("--kinds", default="local,slurm,ray")
    parser.add_argument("--folder", type=Path, default=Path("work/executors"))
    parser.add_argument("--vocab-size", type=int, default=4096)
    arguments = parser.parse_args()
    rows = []
    for kind in arguments.kinds.split(","):
        folder = arguments.folder / kind
        shutil.rmtree(folder, ignore_errors=True)
        values = {
            "sources": tuple(arguments.corpus),
            "out": folder / "dataset",
            "work": folder / "work",
            "tokenizer.vocab_size": arguments.vocab_size,
            "executor.kind": kind,
        }
        started = time.monotonic()
        results = prepare(load_recipe("documents", values))
        sums = [sha256_file(folder / "dataset" / name) for name in (*FILES, "tokenizer/tokenizer.model")]
        rows.append((kind, time.monotonic() - started, results[-1].documents_out, sums))
    print(f"{'executor':<10}{'seconds':>10}{'documents':>12}  SHA-256 of train.bin")
    for kind, seconds, documents, sums in rows:
        print(f"{kind:<10}{seconds:>10.1f}{documents:>12,}  {sums[0]}")
    equal = all(row[3] == rows[0][3] for row in rows)
    print(f"executors={','.join(row[0] for row in rows)} datasets_equal={str(equal).lower()}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
