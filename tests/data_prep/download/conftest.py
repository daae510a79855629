"""A hub with a small copy of FineWeb's layout, and downloads from it that don't wait long."""

import pytest
from hub_server import FakeHub, content
from plain_dataset import PLAIN, QUICK

from data_prep.download.choose import Limits
from data_prep.download.download import Download, plan
from data_prep.download.huggingface import HuggingFace


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
