"""What the files in launch/ call: torchrun around the `train` command for one recipe, and that command in each rank.

./launch/pretrain_1b.sh ARGS          → main(): checks once, then starts the ranks and puts their end in plain words
torchrun launch/pretrain_1b.sh ARGS   → launch() in each rank; a message appears once, torchrun adds its own report
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megatron_recipe import cli, console
from megatron_recipe.doctor.gpu import usable_gpus
from megatron_recipe.errors import MachineError, RecipeError
from megatron_recipe.home_paths import with_home
from megatron_recipe.quiet import hush_libraries

OF_A_SIGNAL = 128
"""A shell's exit code for a process that a signal ended is this plus the signal's number."""
HANDLED_UNDER_NOHUP = "SIGTERM,SIGINT,SIGQUIT"
"""torchrun handles SIGHUP, too, by itself, and then ends all ranks with the terminal that `nohup` was to outlive."""
SAYING_SECONDS = 2.0
"""Left to the rank that speaks: torchrun ends the others as soon as one is gone."""


def launch(recipe: str) -> None:
    """Run `megatron-recipe train RECIPE` with this process's arguments, as one of torchrun's ranks."""
    console.outlive_reader()
    hush_libraries()
    command = ["train", recipe, *with_home(sys.argv[1:])]
    try:
        code = cli.app(command, standalone_mode=False)
    except RecipeError as error:
        if is_first_to_say(str(error)):
            console.say(f"error: {error}")
        leave_for_torchrun("see the line above that begins with 'error:'")
        sys.exit(cli.USER_ERROR)
    except Exception as error:
        # a usage error of click, or of typer's own copy of click: both carry the code
        if getattr(error, "exit_code", None) != cli.USER_ERROR:
            raise
        if is_first_to_say(str(error)):
            cli.app(command)  # says it in its own way, and exits
        leave_for_torchrun("a wrong option: see the usage above")
        sys.exit(cli.USER_ERROR)
    sys.exit(code)


def is_first_to_say(message: str) -> bool:
    """Whether no other rank of this machine has said the same since torchrun started them."""
    error_file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not error_file:
        return True
    # ATTEMPT/LOCAL_RANK/error.json: the folder of the attempt is shared by the ranks, and torchrun removes it
    said = Path(error_file).parent.parent / f"said_{hashlib.sha256(message.encode()).hexdigest()[:16]}"
    try:
        said.touch(exist_ok=False)
    except FileExistsError:
        time.sleep(SAYING_SECONDS)
        return False
    except OSError:
        return True
    return True


def leave_for_torchrun(reason: str) -> None:
    """What torchrun shows as the cause in its report, where it would else ask for a traceback."""
    error_file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if error_file:
        extra = {"py_callstack": reason, "timestamp": str(int(time.time()))}
        text = json.dumps({"message": {"message": reason, "extraInfo": extra}})
        Path(error_file).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """`torchrun OPTIONS FILE ARGUMENTS` with options as --name=value; returns the exit code.

    0: the end, or a stop that can be continued. 2: wrong input, said once. 128 + n: ended by signal n.
    """
    console.outlive_reader()
    try:
        at = next(index for index, word in enumerate(arguments) if not word.startswith("-"))
        options, file, rest = arguments[:at], arguments[at], arguments[at + 1 :]
        code = check_once(file, rest, world_size(options))
        if code or {"--dry-run", "--help", "-h"} & set(rest):
            return code
        return run_ranks(arguments)
    except RecipeError as error:
        console.say(f"error: {error}")
        return cli.USER_ERROR


def check_once(file: str, arguments: Sequence[str], processes: int | None) -> int:
    """Check everything that needs no GPU in one process, before any rank starts; says what is wrong.

    Returns its exit code. processes: over all machines, None where it is not known.
    """
    asked = "--dry-run" in arguments or "--help" in arguments or "-h" in arguments
    command = [sys.executable, file, *arguments, *(() if asked else ("--dry-run",))]
    environment = {**os.environ, **({"WORLD_SIZE": str(processes)} if processes else {})}
    stdout = None if asked else subprocess.DEVNULL
    done = subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE)
    if asked or done.returncode:
        sys.stderr.buffer.write(done.stderr)
        sys.stderr.flush()
    return done.returncode


def world_size(options: Sequence[str]) -> int | None:
    """Processes over all machines that these options of torchrun ask for; None where that is not known here."""
    named = dict(option.lstrip("-").partition("=")[::2] for option in options)
    processes = named.get("nproc-per-node", "1")
    asked = int(processes) if processes.isdigit() else 0
    count = usable_gpus() if processes == "gpu" else asked
    machines = named.get("nnodes", "1").split(":")[-1]
    return count * int(machines) if count and machines.isdigit() else None


def run_ranks(arguments: Sequence[str]) -> int:
    """torchrun in this process, without its traceback when a rank fails; returns the exit code."""
    import logging

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    # It says that a rank failed, and how, which is said below.
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    options = parse_args(list(arguments))
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        options.signals_to_handle = HANDLED_UNDER_NOHUP
    try:
        run(options)
    except ChildFailedError as error:
        return code_of(*error.get_first_failure())
    except SignalException as stop:
        console.say(f"stopped by {stop.sigval.name}; the same command continues from the newest checkpoint")
        return OF_A_SIGNAL + stop.sigval
    except ValueError as error:
        if "Cuda is not available" not in str(error):
            raise
        raise MachineError(
            "one process for each GPU was asked for, and torch sees no GPU here: `megatron-recipe doctor` says why; "
            "NPROC_PER_NODE=1 trains on the CPU"
        ) from error
    return 0


def code_of(rank: int, failure: Any) -> int:
    """Say how the first rank failed, unless it said so itself; returns the exit code for the whole."""
    code = int(failure.exitcode)
    if code == cli.USER_ERROR:
        return code
    how = f"exit code {code}" if code >= 0 else f"signal {failure.signal_name()}"
    hint = (
        "the kernel mostly kills for want of memory: `dmesg | tail` says so" if code == -signal.SIGKILL else "see above"
    )
    console.say(
        f"error: rank {rank} (local rank {failure.local_rank}, process {failure.pid}) ended first, with {how}; {hint}; "
        "the same command continues from the newest checkpoint"
    )
    return code if code >= 0 else OF_A_SIGNAL - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
