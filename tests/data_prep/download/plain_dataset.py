"""A small dataset for the tests, and a patience that does not wait."""

import io

from data_prep.download.patience import Patience
from data_prep.sources.hub_dataset import HubDataset, Subset

QUICK = Patience(max_failures=3, first_wait_seconds=0.01, longest_wait_seconds=0.05, stall_seconds=5)
PLAIN = HubDataset(
    name="plain",
    title="Plain",
    home="https://example.org/plain",
    license="CC0-1.0",
    category="web",
    languages=("en",),
    about_en="",
    about_zh="",
    subsets=(Subset("default", "data"),),
    bytes_per_token=4.0,
    facts_from=(),
    huggingface="lab/plain",
    modelscope="lab/plain",
    suffixes=(".jsonl",),
)


def parquet(rows: list[dict]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()
