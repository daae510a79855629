"""A live dashboard of a run in the terminal. Run: megatron-recipe watch runs/<name> [--once] [--lang zh]

It reads the run folder and nothing else, so it works from any terminal that sees the folder, also over a network disk,
and whatever happens to it the run does not notice. Importing this package costs nothing.
"""

import time
from pathlib import Path
from typing import Any

from megatron_recipe.errors import ConfigError, DataError, no_run
from megatron_recipe.languages import require_language

HEIGHT_OF_A_PRINTED_FRAME = 36
OF_A_RUN = ("config.yaml", "metrics.jsonl", "events.jsonl", ".lock")
"""One of these stands in every run folder: the lock from its first moment, before the model is built."""


def watch_command(run: Path, once: bool, lang: str, interval_seconds: float, reference: str | None = None) -> None:
    """What `megatron-recipe watch` does: a frame every `interval_seconds` until Ctrl-C.

    One frame is printed, and that is all, with `once` or where standard output is no terminal. Watching goes on after
    the end of the run, since a run that was stopped may be continued.

    Args:
        reference: name or file of a reference curve, whose band is drawn behind the loss; None draws none.

    Raises:
        ConfigError: an unknown language or reference, an interval that is not positive, or another kind of run than
            the reference's.
        DataError: there is no such folder, or it is no run's.
    """
    require_language(lang)
    if interval_seconds <= 0:
        raise ConfigError(f"--interval={interval_seconds:g} must be above 0 seconds; try 2")
    if not run.is_dir():
        raise DataError(f"{run}: there is no such run folder; `megatron-recipe train` makes runs/<name>")
    from megatron_recipe.report.comparison_file import is_comparison

    is_run = any((run / name).exists() for name in OF_A_RUN) and not is_comparison(run)
    if any(run.iterdir()) and not is_run:
        raise no_run(run)
    from rich.console import Console

    from megatron_recipe.watch.frame import frame
    from megatron_recipe.watch.run_view import RunView
    from megatron_recipe.watch.words import Words

    standing = None
    if reference:
        from megatron_recipe.references.standing import standing_in

        standing = standing_in(reference)
    console, view, words = Console(highlight=False), RunView(run, standing), Words(lang)
    if once or not console.is_terminal:
        view.refresh()
        height = console.height if console.is_terminal else HEIGHT_OF_A_PRINTED_FRAME
        console.print(frame(view, words, console.width, height - 1, time.time()))
    else:
        _follow(console, view, words, interval_seconds)


def _follow(console: Any, view: Any, words: Any, interval_seconds: float) -> None:
    from rich.live import Live
    from rich.text import Text

    from megatron_recipe.watch.frame import frame

    shown: Any = Text("")
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                view.refresh()
                shown = frame(view, words, console.width, console.height, time.time())
                live.update(shown, refresh=True)
                time.sleep(interval_seconds)
    except KeyboardInterrupt:
        console.print(shown)  # what was seen last stays in the terminal
