"""datatrove's four MinHash stages on documents in memory; `benchmarks/dedup.py` runs it as a peer.

    PYTHON -m benchmarks.datatrove_minhash DOCUMENTS.jsonl cmn_Hani

PYTHON needs ``datatrove[processing,multilingual]`` (xxhash below 4, spaCy, jieba for Chinese), which the project does
not: its own blocks split no words. It needs nothing else of this project. Defaults of datatrove: 5-grams of words, 14
buckets of 8 hashes.
"""

import json
import sys
import tempfile
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig

from benchmarks.measure import timed


def run(documents: list[Document], folder: Path, language: str) -> list[str]:
    """Ids of the documents that stay."""
    config = MinhashConfig()
    signatures, buckets, clusters = (str(folder / name) for name in ("signatures", "buckets", "clusters"))
    MinhashDedupSignature(signatures, config, language).run(iter(documents))
    for bucket in range(config.num_buckets):
        MinhashDedupBuckets(signatures, buckets, config=config).run(None, bucket, config.num_buckets)
    MinhashDedupCluster(buckets, clusters, config=config).run(None)
    return [document.id for document in MinhashDedupFilter(clusters).run(iter(documents))]


if __name__ == "__main__":
    path, language = sys.argv[1:]
    with Path(path).open(encoding="utf-8") as lines:
        documents = [Document(**json.loads(line)) for line in lines]
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        run(documents[:2], Path(first), language)  # loads the word splitter
        with timed() as report:
            kept = set(run(documents, Path(second), language))
    report["removed"] = [number for number, document in enumerate(documents) if document.id not in kept]
    print(json.dumps(report))
