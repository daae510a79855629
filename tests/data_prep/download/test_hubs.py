"""Hubs: accounts, gated sets, wrong names, mirrors, ModelScope's API."""

from threading import Event

import pytest
from plain_dataset import PLAIN, QUICK

from data_prep.download.choose import Limits
from data_prep.download.download import Download, download, plan
from data_prep.download.hub import RemoteFile, open_hub, repo_on
from data_prep.download.huggingface import HuggingFace
from data_prep.download.modelscope import PAGE_SIZE, ModelScope
from data_prep.download.patience import asked_seconds
from data_prep.sources.catalog import DATASETS
from megatron_recipe.errors import ConfigError, DataError, MachineError


def test_a_gated_set_needs_a_token_and_says_where(hub, make_plan):
    hub.gated.add("lab/plain")
    page = "accept its terms at https://huggingface.co/datasets/lab/plain, then give a token"
    with pytest.raises(ConfigError, match=page):
        download(make_plan(), connections=2)
    with pytest.raises(ConfigError, match="refuses the token: it is wrong or expired"):
        download(make_plan(token="hf_wrong"), connections=2)
    download(make_plan(token="hf_right"), connections=2)


def test_the_token_stays_with_the_hub(hub, make_plan):
    download(make_plan(token="hf_right"), connections=2)
    assert all(headers["authorization"] == "Bearer hf_right" for headers in hub.asked("/datasets/lab/plain/resolve/"))
    assert hub.asked("/cdn/")
    assert not any("authorization" in headers for headers in hub.asked("/cdn/"))


def test_a_mirror_gets_a_token_only_for_gated_sets(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_saved")
    assert open_hub("hf-mirror", "hf_mine", is_gated=False).headers().get("authorization") is None
    assert open_hub("hf-mirror", "hf_mine", is_gated=True).headers()["authorization"] == "Bearer hf_mine"
    assert open_hub("hf-mirror", None, is_gated=True).headers()["authorization"] == "Bearer hf_saved"
    assert open_hub(None, None, is_gated=False).headers()["authorization"] == "Bearer hf_saved"


def test_mirrors_by_name_address_and_environment(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.org/")
    assert open_hub(None, None, False).endpoint == "https://hub.example.org"
    assert open_hub("hf-mirror", None, False).endpoint == "https://hf-mirror.com"
    assert open_hub("https://other.example.org", None, False).endpoint == "https://other.example.org"
    assert open_hub("modelscope", None, False).name == "modelscope"
    with pytest.raises(ConfigError, match="--mirror tsinghua: give hf-mirror, huggingface, modelscope"):
        open_hub("tsinghua", None, False)
    with pytest.raises(ConfigError, match="no copy on modelscope is known"):
        repo_on(open_hub("modelscope", None, False), DATASETS["fineweb"])


def test_what_is_not_there_is_named(hub):
    source = HuggingFace(hub.address, False, QUICK)
    with pytest.raises(DataError, match="lab/plain has no 'date' at main"):
        source.files("lab/plain", "main", "date", Event())
    with pytest.raises(DataError, match="has no revision 'v9'"):
        source.commit("lab/plain", "v9", Event())
    with pytest.raises(ConfigError, match="has no such repository"):
        source.commit("lab/plane", "main", Event())


def test_a_hub_out_of_reach(hub):
    with pytest.raises(MachineError, match=r"no connection .*4 times in a row"):
        HuggingFace("http://127.0.0.1:9", False, QUICK).commit("lab/plain", "main", Event())


def test_modelscope(hub, tmp_path):
    hub.repos["lab/plain"] |= {f"data/many-{number:03}.jsonl": b"{}" for number in range(PAGE_SIZE)}
    source = ModelScope(hub.address, QUICK)
    wanted = plan(PLAIN, PLAIN.subset(None), source, tmp_path, Limits())
    assert len(wanted.files) == 6 + PAGE_SIZE  # from two pages
    wanted = Download(wanted.origin, wanted.files[-6:], tmp_path, wanted.record, QUICK)
    wanted.record.files = wanted.record.files[-6:]
    hub.faults["data/part-3.jsonl"] = ["cut", "busy", "error"]
    done = download(wanted, connections=2)
    assert (done.hub, done.revision) == ("modelscope", "master")
    for file in wanted.files:
        assert (tmp_path / file.path).read_bytes() == hub.repos["lab/plain"][file.path]
    with pytest.raises(DataError, match="HTTP 404 for lab/other"):  # its answer is JSON with a Message
        source.files("lab/other", "master", "data", Event())
    with pytest.raises(DataError, match="no files in nowhere"):
        source.files("lab/plain", "master", "nowhere", Event())


@pytest.mark.parametrize("path", ["/etc/passwd", "data/../../x", "", ".."])
def test_a_listing_cannot_write_outside_the_folder(path):
    with pytest.raises(DataError, match="outside the folder"):
        RemoteFile(path, 1)


def test_waits_that_servers_ask_for():
    assert asked_seconds({"retry-after": "17"}) == 17
    assert asked_seconds({"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}) == 0
    assert asked_seconds({"ratelimit": '"api";r=0;t=42'}) == 42
    assert asked_seconds({"ratelimit": '"api";r=10;t=42'}) is None
    assert asked_seconds({"retry-after": "soon"}) is None
    assert asked_seconds({}) is None


def test_a_hub_without_checksums_is_verified_by_those_of_the_first_run(hub, tmp_path, monkeypatch):
    source = ModelScope(hub.address, QUICK)
    files = [RemoteFile(file.path, file.bytes) for file in source.files("lab/plain", "master", "data", Event())]
    monkeypatch.setattr(ModelScope, "files", lambda *arguments: files)
    download(plan(PLAIN, PLAIN.subset(None), source, tmp_path, Limits()), connections=2)
    damaged = tmp_path / files[2].path
    damaged.write_bytes(b"?" * files[2].bytes)
    hub.sent.clear()
    download(plan(PLAIN, PLAIN.subset(None), source, tmp_path, Limits()), connections=2)
    assert set(hub.sent) == {files[2].path}
    assert damaged.read_bytes() == hub.repos["lab/plain"][files[2].path]
