"""Starts commands of the tests by forking a process that has imported torch and Megatron-Core already.

Most of what a short training run costs is those imports. A command started here is a process of its own, with its own
files, environment and working directory, that runs the same module or file as Python would and imports the project's
modules itself. What it does not prove is left to the tests that start Python afresh: that the libraries are imported,
their order, and that nothing depends on the order of sets, since all children hash alike.

Run by commands.py: python warm_server.py SOCKET
"""

import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
LONGEST_REQUEST = 1 << 20


def ask(path: str, words: list[str]) -> int:
    """Have the server run `python WORDS` with this process's files, environment and folder; returns its wait status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(path)
        request = json.dumps({"words": words, "folder": str(Path.cwd()), "environment": dict(os.environ)}).encode()
        socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(request)
        answers = server.makefile()
        child = int(answers.readline())
        for number in FORWARDED:
            signal.signal(number, lambda number, frame: os.kill(child, number))
        return int(answers.readline())


def end_as(status: int) -> None:
    """End this process with the wait status of another."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def serve(path: str) -> list[str]:
    """Accept requests for ever; returns in each forked child, with the words it is to run."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return keep_child(connection)
            connection.close()
            while reaped():
                pass


def reaped() -> bool:
    """Take away one process that has ended, if there is one."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def keep_child(connection: socket.socket) -> list[str]:
    """Fork the command, tell its pid and its end, and kill it when the one that asked is gone; returns in the child."""
    length, files, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        request = json.loads(stream.read(int.from_bytes(length, "big")))
    child = os.fork()
    if child == 0:
        connection.close()
        become(request, files)
        return request["words"]
    for file in files:
        os.close(file)
    connection.sendall(f"{child}\n".encode())
    ended = os.pidfd_open(child)
    readable, _, _ = select.select([ended, connection], [], [])
    if ended not in readable:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if ended in readable:
        connection.sendall(f"{status}\n".encode())
    os._exit(0)


def become(request: dict[str, Any], files: list[int]) -> None:
    """Take over the files, environment and folder of the process that asked."""
    import numpy as np

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    np.random.seed()


def run_as_python(words: list[str]) -> None:
    """Run `-m MODULE ARGUMENTS` or `FILE ARGUMENTS` as the main program; `-u` before it is heeded."""
    import runpy

    if words[0] == "-u":
        words = words[1:]
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through=True)
    if words[0] == "-m":
        sys.argv, sys.path[0] = words[1:], str(Path.cwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")


def main() -> None:
    """Serve until the process that started this one ends."""
    from megatron_recipe.light_imports import light_imports
    from megatron_recipe.parent_death import die_with_parent

    with light_imports():
        import torch._dynamo
        import torch.distributed.run  # noqa: F401

        import megatron_recipe.train  # noqa: F401
    for module in [name for name in sys.modules if name.partition(".")[0] == "megatron_recipe"]:
        del sys.modules[module]  # each command imports the project's own modules itself, and may replace parts of them
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a process with threads cannot be forked"
    die_with_parent()
    words = serve(sys.argv[1])
    try:
        run_as_python(words)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
