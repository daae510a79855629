"""The page: what the sections hold, and the template that sets it."""

import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from megatron_recipe import __version__
from megatron_recipe.references.standing import Standing
from megatron_recipe.report.commands import commands, data_command, shown_path
from megatron_recipe.report.formats import FILTERS, SUPERSCRIPTS, seconds_in_units
from megatron_recipe.report.operation import operation_section, sentence
from megatron_recipe.report.page_environment import page_environment
from megatron_recipe.report.run_files import Run
from megatron_recipe.report.sources import source_table
from megatron_recipe.report.strings import Strings, strings_for
from megatron_recipe.report.summary import device_label, passes_over, summarise, vocabulary_size
from megatron_recipe.report.training import training_section

MAX_EVENT_ROWS = 60


def render_page(run: Run, lang: str, standing: Standing | None = None) -> str:
    """The whole report of `run` as one HTML document in `lang`; with the band of the reference `standing` is about."""
    text = strings_for(lang)
    summary = summarise(run)
    environment = page_environment("megatron_recipe")
    environment.filters.update(FILTERS, power=_power, duration=_duration_in(text), source_table=source_table)
    environment.filters.update(lowest=_lowest, sentence=partial(sentence, text))
    environment.globals.update(t=text)
    return environment.get_template("report.html").render(
        run=run,
        summary=summary,
        training=training_section(run, summary, standing),
        held_out_sets={"": run.validation, **run.validation_sets} if run.validation else run.validation_sets,
        operation=operation_section(run),
        vocabulary=vocabulary_size(run.datasets),
        passes={dataset.path: passes_over(run, dataset) for dataset in run.datasets},
        samples=group_samples(run.samples),
        events=shown_events(run.events),
        event_counts=Counter(event["event"] for event in run.events),
        commands=commands(run, lang),
        data_command=data_command,
        exports=[{**export, "folder": shown_path(export["folder"])} for export in run.exports],
        device=device_label(run.environment),
        started=next((e.get("time") for e in run.events if e["event"] == "start"), run.environment.get("started")),
        name=run.folder.absolute().name,
        version=__version__,
        written=datetime.now(UTC).isoformat(),
    )


def group_samples(samples: dict[str, Any] | None) -> list[tuple[str, list[dict[str, Any]]]]:
    """Continuations by prompt, in the order of the file."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for sample in (samples or {}).get("samples", []):
        groups.setdefault(str(sample["prompt"]), []).append(sample)
    return list(groups.items())


def shown_events(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events that the table shows: all of a short list, else the last checkpoints and everything unusual."""
    left_out = max(len(events) - MAX_EVENT_ROWS, 0)
    shown = []
    for event in events:
        if left_out and event["event"] == "checkpoint_saved":
            left_out -= 1
        else:
            shown.append(event)
    return shown[-MAX_EVENT_ROWS:]


def _lowest(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of the lowest loss; the last one where none is finite."""
    return min((r for r in records if math.isfinite(r["loss"])), key=lambda r: r["loss"], default=records[-1])


def _power(exponent: int) -> str:
    return f"10{str(exponent).translate(SUPERSCRIPTS)}"


def _duration_in(text: Strings) -> Callable[[float | None], str]:
    def duration(seconds: float | None) -> str:
        if seconds is None:
            return "—"
        return " ".join(text(f"unit.{unit}", number=number) for number, unit in seconds_in_units(seconds))

    return duration
