"""A whole download: listing in pages, limits, checks of what is there, the record, and faults of the server."""

import hashlib
import json

import pytest
from hub_server import COMMIT, content

from data_prep.download import download as module
from data_prep.download.choose import Limits
from data_prep.download.download import download
from data_prep.download.record import read_record
from megatron_recipe.errors import ConfigError, DataError, MachineError

PATHS = ["data/note.small.jsonl", *(f"data/part-{number}.jsonl" for number in range(5))]


def assert_whole(folder, files):
    for path, data in files.items():
        if path.startswith("data/"):
            assert (folder / path).read_bytes() == data
    assert not list(folder.rglob("*.partial"))


def test_files_and_record(hub, make_plan, tmp_path):
    wanted = make_plan()
    assert [file.path for file in wanted.files] == PATHS  # from three pages, without the card
    download(wanted, connections=4)
    files = hub.repos["lab/plain"]
    assert_whole(tmp_path / "corpus", files)
    written = json.loads((tmp_path / "corpus/download.json").read_text(encoding="utf-8"))
    assert {written[key] for key in ("dataset", "revision", "license", "category")} == {
        "plain",
        COMMIT,
        "CC0-1.0",
        "web",
    }
    assert written["complete"]
    assert written["files"] == [
        {"path": p, "bytes": len(files[p]), "sha256": hashlib.sha256(files[p]).hexdigest()} for p in PATHS
    ]
    assert written["tokens"] == round(sum(len(files[p]) for p in PATHS) / 4)
    assert written["tokens_are"] == "estimated"


def test_a_second_run_verifies_and_fetches_only_what_is_damaged(hub, make_plan, tmp_path, capsys):
    download(make_plan(), connections=4)
    hub.sent.clear()
    download(make_plan(), connections=4)
    assert hub.sent == {}
    damaged = tmp_path / "corpus/data/part-2.jsonl"
    damaged.write_bytes(b"?" + damaged.read_bytes()[1:])  # of the right length
    (tmp_path / "corpus/data/note.small.jsonl").write_bytes(b'{"text": "jello"}\n')  # known by git's checksum only
    download(make_plan(), connections=4)
    assert set(hub.sent) == {"data/part-2.jsonl", "data/note.small.jsonl"}
    assert "is not the file that the hub lists" in capsys.readouterr().err
    assert_whole(tmp_path / "corpus", hub.repos["lab/plain"])


def test_limits_take_the_first_files(make_plan):
    in_gb = make_plan(Limits(max_bytes=600_019 + 300_001))
    assert [file.path for file in in_gb.files] == PATHS[:3]  # 18 + 300,000 + 300,001; a fourth would be too much
    assert sum(file.bytes for file in in_gb.files) <= 900_020
    in_tokens = make_plan(Limits(max_tokens=100_000))
    assert [file.path for file in in_tokens.files] == PATHS[:3]  # 150,005 tokens of 4 bytes; two files have 75,004
    with pytest.raises(ConfigError, match=r"--max-gb 1e-08: already the first file"):
        make_plan(Limits(max_bytes=10))
    with pytest.raises(ConfigError, match="--max-tokens must be above 0"):
        Limits(max_tokens=0)


@pytest.mark.parametrize("fault", ["cut", "short", "long", "other", "busy", "error", "range"])
def test_a_fault_is_met(hub, make_plan, tmp_path, fault):
    hub.faults["data/part-1.jsonl"] = [fault]
    download(make_plan(), connections=2)
    assert_whole(tmp_path / "corpus", hub.repos["lab/plain"])


def test_a_cut_connection_goes_on_where_it_stopped(hub, make_plan):
    size = len(hub.repos["lab/plain"]["data/part-1.jsonl"])
    hub.faults["data/part-1.jsonl"] = ["cut"] * 6  # more than max_failures, but each brings bytes
    download(make_plan(), connections=1)
    assert hub.sent["data/part-1.jsonl"] == size
    assert sum("range" in headers for headers in hub.asked("/lab/plain/data/part-1.jsonl?")) == 6


def test_a_server_that_ignores_ranges_sends_all_again(hub, make_plan, tmp_path):
    size = len(hub.repos["lab/plain"]["data/part-1.jsonl"])
    hub.faults["data/part-1.jsonl"] = ["cut", "no-range"]
    download(make_plan(), connections=1)
    assert hub.sent["data/part-1.jsonl"] == size // 2 + size
    assert_whole(tmp_path / "corpus", hub.repos["lab/plain"])


def test_too_many_requests_wait_as_long_as_asked(hub, make_plan):
    waits = []
    wanted = make_plan()
    hub.faults["data/part-1.jsonl"] = ["busy"]

    class Stop:
        def is_set(self):
            return False

        def set(self):
            pass

        def wait(self, seconds):
            waits.append(seconds)
            return False

    from data_prep.download.transfer import fetch

    file = wanted.files[2]
    fetch(file, wanted.origin, wanted.path(file), wanted.patience, Stop(), lambda amount: None)
    assert waits == [1.0]  # Retry-After, not the 0.01 s of the patience


@pytest.mark.parametrize(("fault", "message"), [("error", "HTTP 503"), ("short", "announces 150,000 bytes where")])
def test_a_fault_that_stays_is_an_error(hub, make_plan, fault, message):
    hub.faults["data/part-1.jsonl"] = [fault] * 20
    with pytest.raises(MachineError, match=message):
        download(make_plan(), connections=2)
    assert not read_record(make_plan().folder).complete


def test_a_content_that_stays_wrong_is_an_error(hub, make_plan, tmp_path):
    hub.faults["data/part-1.jsonl"] = ["other"] * 20
    with pytest.raises(DataError, match="not those of the listing"):
        download(make_plan(), connections=1)
    assert not (tmp_path / "corpus/data/part-1.jsonl").exists()
    assert len(hub.faults["data/part-1.jsonl"]) == 18


def test_another_version_is_not_joined_to_what_is_there(hub, make_plan, tmp_path):
    hub.faults["data/part-1.jsonl"] = ["cut", *["error"] * 20]
    with pytest.raises(MachineError):
        download(make_plan(), connections=1)
    hub.faults.clear()
    hub.repos["lab/plain"]["data/part-1.jsonl"] = content(77, 300_001)
    download(make_plan(), connections=1)
    assert (tmp_path / "corpus/data/part-1.jsonl").read_bytes() == content(77, 300_001)


def test_a_commit_once_begun_is_kept(hub, make_plan):
    hub.faults["data/part-1.jsonl"] = ["error"] * 20
    with pytest.raises(MachineError):
        download(make_plan(), connections=1)
    hub.requests.clear()
    make_plan()
    assert hub.asked(f"/api/datasets/lab/plain/revision/{COMMIT}")
    assert not hub.asked("/revision/main")


def test_listings_are_asked_again(hub, make_plan):
    hub.listing_faults = [429, 503]
    assert len(make_plan().files) == 6


def test_a_full_disk_is_said_before(make_plan, monkeypatch):
    wanted = make_plan()
    usage = module.disk_usage("/")
    monkeypatch.setattr(module, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(MachineError, match=r"the disk is full .*2 MB needed"):
        download(wanted, connections=1)
    assert not list(wanted.folder.rglob("*.jsonl"))


def test_a_disk_that_fills_meanwhile_is_said_too(make_plan, monkeypatch):
    from data_prep.download import transfer

    def write(chunks, out, missing, stop, advance):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer, "_write", write)
    with pytest.raises(MachineError, match="the disk is full"):
        download(make_plan(), connections=1)


def test_a_folder_of_another_set_is_refused(make_plan, tmp_path):
    wanted = make_plan()
    wanted.record.subset = "other"
    wanted.folder.mkdir()
    wanted.record.write(wanted.folder)
    with pytest.raises(ConfigError, match="give another --out"):
        make_plan()
    (wanted.folder / "download.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="not a record of a download"):
        make_plan()


def test_files_of_an_earlier_run_are_named(make_plan, capsys):
    download(make_plan(), connections=4)
    download(make_plan(Limits(max_bytes=700_000)), connections=4)
    assert "also holds 3 files that are not part of this download (part-2.jsonl" in capsys.readouterr().err


def test_tokens_are_counted_where_a_column_gives_them(hub, make_plan):
    from plain_dataset import parquet

    wanted = make_plan()
    wanted.record.tokens_field = "token_count"
    hub.repos["lab/plain"] = {f"data/{n}.parquet": parquet([{"text": "x", "token_count": n}] * 10) for n in (3, 4)}
    source = wanted.origin.hub
    files = source.files("lab/plain", COMMIT, "data", module.Event())
    wanted.record.files = [{"path": file.path, "bytes": file.bytes, "sha256": None} for file in files]
    done = download(module.Download(wanted.origin, files, wanted.folder, wanted.record), connections=1)
    assert (done.tokens, done.tokens_are) == (70, "counted")
    assert [entry["tokens"] for entry in done.files] == [30, 40]


def test_two_downloads_do_not_share_a_folder(make_plan):
    from data_prep.download.lock import only_download

    wanted = make_plan()
    with only_download(wanted.folder), pytest.raises(DataError, match=r"another download \(process \d+\)"):
        download(wanted, connections=1)
    download(wanted, connections=1)
