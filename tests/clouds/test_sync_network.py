"""`sync` over a real sshd on 127.0.0.1, through a wire that is cut in the middle."""

import getpass
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import recipe_command, run
from copied_run import content, looks_whole_but_is_not, make_run

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("rsync") is None, reason="apt-get install rsync openssh-server"
)


class Wire:
    """Passes TCP connections on, and cuts each after so many bytes (None: never)."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.cut_after: int | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            outer = socket.create_connection(("127.0.0.1", self.target))
            passed = [0]
            for source, target in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._pass, args=(source, target, passed), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, passed: list[int]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                passed[0] += len(data)
                if self.cut_after is not None and passed[0] > self.cut_after:
                    self.cuts += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Host:
    wire: Wire
    shell: str
    """What rsync is told to use for ssh."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    shutil.copy(tmp_path / "user_key.pub", tmp_path / "authorized_keys")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host_key\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {tmp_path}/authorized_keys\nUsePAM no\nPermitRootLogin yes\n",
        encoding="utf-8",
    )
    if getpass.getuser() == "root":  # sshd separates its privileges there, and a container has no such folder
        Path("/run/sshd").mkdir(exist_ok=True)
    sshd = subprocess.Popen([str(SSHD), "-D", "-f", tmp_path / "sshd_config"], stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    wire = Wire(port)
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes"
    yield Host(wire, f"ssh -p {wire.port} -i {tmp_path}/user_key {options}")
    wire.listener.close()
    sshd.terminate()
    sshd.wait()


def test_a_network_that_is_cut_leaves_nothing_that_looks_whole(host: Host, tmp_path: Path) -> None:
    here = make_run(tmp_path / "runs" / "one", 10, size=3_000_000)
    place = f"{getpass.getuser()}@127.0.0.1:{tmp_path}/there"
    there, back = tmp_path / "there" / "one", tmp_path / "back" / "one"

    def sync(*arguments: object) -> subprocess.CompletedProcess[str]:
        return run(recipe_command(["sync", *arguments]), tmp_path, RSYNC_RSH=host.shell)

    host.wire.cut_after = 4_000_000
    done = sync(here, "--to", place)
    assert done.returncode == 2
    assert "error: rsync ended with code" in done.stderr
    assert "goes on from there" in done.stderr
    assert host.wire.cuts
    arrived = sum(path.stat().st_size for path in there.rglob("*") if path.is_file())
    assert 1_000_000 < arrived < 9_000_000
    assert not list(there.rglob("checkpoint.json"))

    host.wire.cut_after = None
    assert sync(here, "--to", place).returncode == 0
    assert looks_whole_but_is_not(there) == []

    host.wire.cut_after = 4_000_000
    assert sync(back, "--from", place).returncode == 2
    assert not (back / "checkpoints").exists()
    host.wire.cut_after = None
    done = sync(back, "--from", place)
    assert done.returncode == 0, done.stderr
    assert content(back) == content(here)
