"""Files one at a time: verified, at most one ahead, taken up again after a stop."""

import time

import pytest
from plain_dataset import QUICK

from data_prep.download.download import Download
from data_prep.download.shards import shards, stream_shards
from megatron_recipe.errors import MachineError


def wait_until(holds, seconds=5.0):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def test_each_file_whole_and_at_most_one_ahead(hub, make_plan):
    wanted = make_plan()
    seen = []
    for file, path in shards(wanted, set()):
        assert path.read_bytes() == hub.repos["lab/plain"][file.path]
        seen.append(file.path)
        if len(seen) < len(wanted.files):
            following = wanted.path(wanted.files[len(seen)])
            assert wait_until(following.exists)  # fetched while this one is worked on
        time.sleep(0.05)
        assert len(list(wanted.folder.glob("data/*"))) <= 2
        path.unlink()
    assert seen == [file.path for file in wanted.files]


def test_a_stopped_stream_goes_on(hub, make_plan):
    done = set()
    for file, path in shards(make_plan(), done):
        if len(done) == 2:
            break  # what is at hand and what is ahead stay on the disk
        done.add(file.path)
        path.unlink()
    time.sleep(0.2)
    before = dict(hub.sent)
    rest = []
    for file, path in shards(make_plan(), done):
        assert path.read_bytes() == hub.repos["lab/plain"][file.path]
        rest.append(file.path)
        path.unlink()
    assert done | set(rest) == {file.path for file in make_plan().files}
    assert rest[0] not in done
    assert hub.sent[rest[0]] == before[rest[0]]  # verified, not fetched again


def test_an_error_of_the_hub_reaches_the_caller(hub, make_plan):
    wanted = make_plan()
    hub.faults[wanted.files[2].path] = ["error"] * 20
    taken = []
    with pytest.raises(MachineError, match="HTTP 503"):
        for file, path in shards(wanted, set()):
            taken.append(file.path)
            path.unlink()
    assert taken == [file.path for file in wanted.files[:2]]


def test_shards_carry_their_source(make_plan):
    wanted = make_plan()
    two = Download(wanted.origin, wanted.files[:2], wanted.folder, wanted.record, QUICK)
    found = list(stream_shards(two)({wanted.files[0].path}))
    assert [shard.name for shard in found] == [wanted.files[1].path]
    source = found[0].source
    assert (source.name, source.category, source.license, source.text_field) == ("plain", "web", "CC0-1.0", "text")
