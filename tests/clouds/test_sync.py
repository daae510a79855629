"""`sync`: the copy verifies or is refused, whatever happens on the way."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from commands import ENVIRONMENT, NEEDS_RSYNC, recipe_command, run
from copied_run import add_checkpoint, content, looks_whole_but_is_not, make_run

from megatron_recipe.config import CheckpointConfig
from megatron_recipe.errors import CheckpointError, ConfigError, DataError, MachineError
from megatron_recipe.sync_background import check_sync
from megatron_recipe.sync_command import sync_command
from megatron_recipe.sync_pull import pull
from megatron_recipe.sync_push import push
from megatron_recipe.sync_rclone import RcloneStore
from megatron_recipe.sync_rsync import RsyncStore
from megatron_recipe.sync_store import failed, open_store

PROGRAMS = {"rsync": "{}", "rclone": "loop:{}"}
RCLONE = {"RCLONE_CONFIG_LOOP_TYPE": "local"}
KILLS = 3
pytestmark = NEEDS_RSYNC


@pytest.fixture(params=[*PROGRAMS])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place as the user writes it; its files are in tmp_path/there."""
    if shutil.which(request.param) is None:
        pytest.skip(f"apt-get install {request.param}")
    for name, value in RCLONE.items():
        monkeypatch.setenv(name, value)
    return PROGRAMS[request.param].format(tmp_path / "there")


def test_a_run_goes_and_comes_back_with_its_newest_checkpoint(place: str, tmp_path: Path) -> None:
    here = make_run(tmp_path / "runs" / "one", 10, 20)
    assert push(here, open_store(place)).checkpoint == "step_00000020"
    back = tmp_path / "back" / "one"
    assert pull(back, open_store(place)) == "step_00000020"
    expected = {name: data for name, data in content(here).items() if "step_00000010" not in name}
    assert content(back) == expected
    assert not (here / ".sync" / "to").exists()


def test_the_copy_goes_on_with_the_run(place: str, tmp_path: Path) -> None:
    here = make_run(tmp_path / "runs" / "one", 10)
    push(here, open_store(place), keep=2)
    with (here / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 2}\n')
    for step in (20, 30):
        add_checkpoint(here, step)
        push(here, open_store(place), keep=2)
    there = tmp_path / "there" / "one"
    assert sorted(path.name for path in (there / "checkpoints").iterdir()) == ["step_00000020", "step_00000030"]
    assert (there / "metrics.jsonl").read_bytes() == (here / "metrics.jsonl").read_bytes()
    back = tmp_path / "back" / "one"
    make_run(back, 10)
    assert pull(back, open_store(place)) == "step_00000030"
    assert pull(back, open_store(place)) is None  # as far already


def test_a_byte_that_changed_in_the_copy_is_found_and_mended(place: str, tmp_path: Path) -> None:
    here = make_run(tmp_path / "runs" / "one", 10)
    push(here, open_store(place))
    damaged = flip(tmp_path / "there" / "one" / "checkpoints" / "step_00000010" / "__1_0.distcp")
    push(here, open_store(place))
    assert damaged.read_bytes() == (here / "checkpoints" / "step_00000010" / "__1_0.distcp").read_bytes()


def test_of_a_damaged_copy_the_checkpoint_before_it_is_taken(place: str, tmp_path: Path) -> None:
    here = make_run(tmp_path / "runs" / "one", 10)
    push(here, open_store(place))
    add_checkpoint(here, 20)
    push(here, open_store(place))
    copies = tmp_path / "there" / "one" / "checkpoints"
    flip(copies / "step_00000020" / "__0_0.distcp")
    assert pull(tmp_path / "back" / "one", open_store(place)) == "step_00000010"
    flip(copies / "step_00000010" / "common.pt")
    with pytest.raises(CheckpointError, match=r"no checkpoint of one is whole.*__0_0\.distcp differs"):
        pull(tmp_path / "back2" / "one", open_store(place))
    assert not (tmp_path / "back2" / "one" / "checkpoints").exists()


def test_a_damaged_checkpoint_is_not_copied(place: str, tmp_path: Path) -> None:
    here = make_run(tmp_path / "runs" / "one", 10, 20)
    flip(here / "checkpoints" / "step_00000020" / "__0_0.distcp")
    assert push(here, open_store(place)).checkpoint == "step_00000010"
    flip(here / "checkpoints" / "step_00000010" / "__0_0.distcp")
    with pytest.raises(CheckpointError, match="none of its 2 checkpoints is whole"):
        push(here, open_store(place))


def test_a_dataset_is_copied_with_its_manifest_last(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "main"
    (folder / "tokenizer").mkdir(parents=True)
    for name in ("train.bin", "tokenizer/model", "manifest.json"):
        (folder / name).write_bytes(os.urandom(5000))
    assert push(folder, open_store(place)).checkpoint is None
    pull(tmp_path / "back" / "main", open_store(place))
    assert content(tmp_path / "back" / "main") == content(folder)


@pytest.mark.parametrize("store", [RsyncStore, RcloneStore])
def test_a_step_that_is_saved_anew_takes_its_marker_back_first(
    store: type[RsyncStore] | type[RcloneStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rollback a run saves the same step with other weights; a cut in the middle must not look whole."""
    if shutil.which("rclone") is None:
        pytest.skip("apt-get install rclone")
    here = make_run(tmp_path / "runs" / "one", 10)
    place = store(str(tmp_path / "there"))
    push(here, place)
    add_checkpoint(here, 10)

    def cut(*arguments: object, **options: object) -> None:
        raise MachineError("cut")

    monkeypatch.setattr(place, "put", cut)
    with pytest.raises(MachineError, match="cut"):
        push(here, place)
    assert not (tmp_path / "there" / "one" / "checkpoints" / "step_00000010" / "checkpoint.json").exists()


@pytest.mark.parametrize("store", [RsyncStore, RcloneStore])
def test_the_marker_comes_after_all_else_was_compared(
    store: type[RsyncStore] | type[RcloneStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("rclone") is None:
        pytest.skip("apt-get install rclone")
    here = make_run(tmp_path / "runs" / "one", 10)
    place = store(str(tmp_path / "there"))

    def cut(*arguments: object) -> list[str]:
        raise MachineError("cut")

    monkeypatch.setattr(place, "differences", cut)
    with pytest.raises(MachineError, match="cut"):
        push(here, place)
    arrived = tmp_path / "there" / "one" / "checkpoints" / "step_00000010"
    assert sorted(path.name for path in arrived.iterdir())[:3] == ["__0_0.distcp", "__1_0.distcp", "__2_0.distcp"]
    assert not (arrived / "checkpoint.json").exists()


def test_killed_at_random_moments_no_half_copy_looks_whole(place: str, tmp_path: Path) -> None:
    here = make_run(tmp_path / "runs" / "one", 10, size=4_000_000)
    there, command = tmp_path / "there" / "one", recipe_command(["sync", here, "--to", place])
    chance = random.Random(place)
    for kill in range(KILLS):
        add_checkpoint(here, 10 + 10 * kill, size=4_000_000)
        # from the first file on: what comes before is the start of Python
        seen = len(list(there.rglob("*")))
        kill_when(command, lambda seen=seen: len(list(there.rglob("*"))) > seen, chance.uniform(0, 0.15))
        assert looks_whole_but_is_not(there) == []
    done = run(command, tmp_path, **RCLONE)
    assert done.returncode == 0, done.stderr
    assert looks_whole_but_is_not(there) == []
    assert pull(tmp_path / "back" / "one", open_store(place)) == f"step_{10 * KILLS:08d}"


def test_a_pull_that_is_killed_leaves_no_checkpoint_and_goes_on(place: str, tmp_path: Path) -> None:
    here = make_run(tmp_path / "runs" / "one", 10, size=4_000_000)
    push(here, open_store(place))
    back = tmp_path / "back" / "one"
    command = recipe_command(["sync", back, "--from", place])
    kill_when(command, lambda: bool(list(back.rglob("*distcp*"))), 0.0)
    assert looks_whole_but_is_not(back) == []
    assert run(command, tmp_path, **RCLONE).returncode == 0
    assert content(back) == content(here)


def test_places_and_errors(tmp_path: Path) -> None:
    assert isinstance(open_store("me@host:runs"), RsyncStore)
    assert isinstance(open_store("/mnt/disk"), RsyncStore)
    assert isinstance(open_store("s3:bucket/runs"), RcloneStore)
    with pytest.raises(ConfigError, match="no place"):
        open_store("--delete")
    for secret in (":s3,secret_access_key=4711:bucket", "s3,secret_access_key=4711:bucket"):
        with pytest.raises(ConfigError, match="holds no settings") as refusal:
            open_store(secret)
        assert "4711" not in str(refusal.value)
    with pytest.raises(ConfigError, match="--ssh-port goes with"):
        open_store("s3:bucket", 22)
    with pytest.raises(DataError, match="no such folder"):
        push(tmp_path / "nothing", open_store(str(tmp_path / "there")))
    with pytest.raises(DataError, match="has nothing under one"):
        pull(tmp_path / "one", open_store(str(tmp_path / "there")))


def test_a_failure_names_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("rclone") is None:
        pytest.skip("apt-get install rclone")
    monkeypatch.setenv("RCLONE_CONFIG_BAD_TYPE", "webdav")
    monkeypatch.setenv("RCLONE_CONFIG_BAD_URL", "http://127.0.0.1:9/planted-secret-4711/")
    monkeypatch.setenv("THE_SECRET", "planted-secret-4711")
    here = make_run(tmp_path / "runs" / "one", 10)
    with pytest.raises(MachineError) as failure:
        push(here, RcloneStore("bad:x"))
    assert "rclone ended with code" in str(failure.value)
    assert "planted-secret-4711" not in str(failure.value)


def kill_when(command: Sequence[str], when: Callable[[], bool], then_seconds: float) -> None:
    """Start, and kill it with all its children some time after `when()` holds."""
    environment = {**ENVIRONMENT, **RCLONE}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and not when():
        time.sleep(0.001)
    time.sleep(then_seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def flip(path: Path, at: Sequence[int] = (50,)) -> Path:
    """Change a byte, and nothing that a look at size and time would see."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    for index in at:
        data[index] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return path


def test_what_went_wrong_is_named_and_not_what_followed_from_it() -> None:
    said = """rsync: [receiver] write failed on "/x/one": No space left on device (28)
rsync error: error in file IO (code 11) at receiver.c(657) [receiver=3.5.0]
rsync: [sender] write error: Broken pipe (32)
"""
    assert 'said: rsync: [receiver] write failed on "/x/one": No space left on device (28); mend' in str(
        failed("rsync", 11, said)
    )
    assert "code 12 and said: rsync error: unexplained;" in str(failed("rsync", 12, "rsync error: unexplained"))
    unknown = 'Failed to create file system for "x:/y": didn\'t find section in config file'
    assert "rclone config" in str(failed("rclone", 1, unknown))


def test_an_empty_place_is_no_upload_to_wandb(tmp_path: Path) -> None:
    """As with --to $PLACE, where PLACE is not set."""
    with pytest.raises(ConfigError, match="no place to copy to"):
        sync_command(tmp_path, to="")


def test_an_ssh_that_is_asked_for_options_never_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSYNC_RSH", raising=False)
    assert RsyncStore("me@host:/x", 34222, ["-o", "HostKeyAlias=u1.34222"]).shell == [
        "-e", "ssh -p 34222 -o HostKeyAlias=u1.34222 -o BatchMode=yes -o ConnectTimeout=15",
    ]  # fmt: skip
    assert RsyncStore("me@host:/x").shell == ["-e", "ssh -o ConnectTimeout=15"]


def test_the_users_own_shell_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSYNC_RSH", "ssh -p 22 -i key")
    assert RsyncStore("me@host:/x").shell == []


def test_a_host_that_does_not_answer_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """198.51.100.1 is nobody's (RFC 5737)."""
    monkeypatch.delenv("RSYNC_RSH", raising=False)
    monkeypatch.setattr("megatron_recipe.sync_rsync.ANSWERS_WITHIN", 1)
    begun = time.monotonic()
    with pytest.raises(MachineError, match="rsync ended with code"):
        RsyncStore("me@198.51.100.1:/x").read("one/events.jsonl")
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("inside", [".", "runs", "runs/one", "runs/one/copies", "runs/../runs"])
def test_a_copy_in_the_folder_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
    run = make_run(tmp_path / "runs" / "one", 10, 20)
    before = content(run)
    monkeypatch.chdir(tmp_path if inside != "." else tmp_path / "runs")
    place = f"./{inside}"
    for asked in ({"to": place}, {"from_": place}):
        with pytest.raises(ConfigError, match="is no second place"):
            sync_command(run, **asked)
    with pytest.raises(ConfigError, match=r"checkpoint\.sync_to=\./.*is no second place"):
        check_sync(CheckpointConfig(sync_to=place), run)
    assert content(run) == before


def test_a_place_on_a_disk_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "one", 10)
    place = str(tmp_path / "disk" / "backups")
    with pytest.raises(ConfigError, match=r"disk is not there; mount that disk, or make the folder: mkdir -p"):
        sync_command(run, to=place)
    with pytest.raises(ConfigError, match=r"checkpoint\.sync_to=.*disk is not there"):
        check_sync(CheckpointConfig(sync_to=place), run)
    (tmp_path / "disk").mkdir()
    sync_command(run, to=place)
