"""Several files at a time, in threads that report to the caller's and never keep the program from ending."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event


@dataclass(frozen=True)
class Progress:
    """Bytes that came in; negative where some must come again."""

    bytes: int


@dataclass(frozen=True)
class Done[T]:
    """One task's end."""

    task: T
    result: str | None


def run[T](
    tasks: Sequence[T], work: Callable[[T, Callable[[int], None]], str | None], workers: int, stop: Event
) -> Iterator[Progress | Done[T]]:
    """Call `work(task, advance)` for each task and yield what happens, in the caller's thread.

    The first error is raised here and ends the others through `stop`, as does leaving the loop (Ctrl-C). Threads are
    daemons: one that waits for a silent server does not delay the program's end.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    events: queue.SimpleQueue[Progress | Done[T] | BaseException] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)

    def loop() -> None:
        try:
            while not stop.is_set():
                task = waiting.get_nowait()
                events.put(Done(task, work(task, lambda amount: events.put(Progress(amount)))))
        except queue.Empty:
            pass
        except BaseException as error:
            events.put(error)

    for _ in range(min(workers, len(tasks))):
        threading.Thread(target=loop, daemon=True).start()
    left = len(tasks)
    try:
        while left:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            left -= isinstance(event, Done)
            yield event
    finally:
        stop.set()
