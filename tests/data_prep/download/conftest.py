"""A hub with a small copy of FineWeb's layout, and downloads from it that don't wait long."""

import io

import pytest
from hub_server import FakeHub, content

from data_prep.download.choose import Limits
from data_prep.download.download import Download, plan
from data_prep.download.huggingface import HuggingFace
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


@pytest.fixture
def hub():
    with FakeHub() as fake:
        files = {f"data/part-{number}.jsonl": content(number, 300_000 + number) for number in range(5)}
        fake.repos["lab/plain"] = {"README.md": b"# Plain\n", **files, "data/note.small.jsonl": b'{"text": "hello"}\n'}
        yield fake


@pytest.fixture
def make_plan(hub, tmp_path):
    def make(limits: Limits = Limits(), token: str | bool = False, **changes) -> Download:
        source = HuggingFace(hub.address, token, QUICK)
        wanted = plan(PLAIN, PLAIN.subset(None), source, tmp_path / "corpus", limits, **changes)
        return Download(wanted.origin, wanted.files, wanted.folder, wanted.record, QUICK)

    return make
