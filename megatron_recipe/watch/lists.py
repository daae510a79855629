"""The dashboard's lists: held-out losses, checkpoints, events; each line labelled at its left."""

import math

from rich.cells import set_cell_size
from rich.text import Text

from megatron_recipe.report.formats import integer, perplexity, size, visible
from megatron_recipe.watch.run_view import Checkpoint, RunView, number
from megatron_recipe.watch.words import Words, clock

# Checkpoints have a list of their own.
UNLISTED_EVENTS = ("checkpoint_saved",)
EVENT_STYLES = {
    "spike": "red",
    "rollback": "bold red",
    "update_skipped": "yellow",
    "diagnosis": "bold red",
    "checkpoint_failed": "red",
    "copy_failed": "red",
    "checkpoint_damaged": "red",
    "out_of_memory": "yellow",
    "budget_warning": "yellow",
    "straggler": "yellow",
    "logger_failed": "yellow",
    "evaluation_failed": "yellow",
}


def reference_rows(view: RunView, words: Words, label_width: int) -> list[Text]:
    """Where the run stands in the band of a reference; nothing where none was asked for."""
    standing = view.standing
    if standing is None:
        return []
    share, usual = standing.inside, f"{100 * standing.reference.share:.0f}"
    if share is None:
        return _labelled([], words("reference"), label_width, words)
    line = Text().append(f"{100 * share:.0f}%", style="bold")
    line.append(f" {words('inside', records=integer(standing.records), usual=usual)}", style="dim")
    if standing.lately is not None:
        line.append(
            f"  {words(f'lately.{standing.lately}')}", style="" if standing.lately == "inside" else "bold yellow"
        )
    if standing.other_text:
        line.append(f"  {words('other_text')}", style="yellow")
    return _labelled([line], words("reference"), label_width, words)


def held_out_rows(view: RunView, words: Words, label_width: int, most: int) -> list[Text]:
    """The latest loss of each validation set, and the best of the mix; on `most` lines."""
    texts = []
    for kind, record in sorted(view.validations.items()):
        loss = number(record.get("loss"), math.nan)
        name = kind.partition("/")[2] or words("the_mix")
        text = Text().append(f"{visible(name)} ", style="dim").append(f"{loss:.4f}", style="bold")
        if kind == "validation":
            details = [
                f"ppl {perplexity(number(record.get('perplexity')))}",
                words("at_step", step=integer(record["step"])),
            ]
            best = view.best_validation
            if best and best.get("step") != record.get("step"):
                details.append(words("best", loss=f"{best['loss']:.4f}", step=integer(best["step"])))
            text.append("  " + "  ".join(details), style="dim")
        texts.append(text)
    lines = [texts[:1], *([text] for text in texts[1:most])] if most > 1 else [texts]
    if most > 1:
        lines[-1] = [*lines[-1], *texts[most:]]
    return _labelled([Text("   ").join(line) for line in lines if line], words("held_out"), label_width, words)


def benchmark_rows(view: RunView, words: Words, label_width: int, width: int, most: int) -> list[Text]:
    """The latest score of each benchmark in percent, with its standard error and chance.

    At most `most` lines of `width`; none where there are no benchmarks. What finds no place is left out.
    """
    texts = []
    for name, record in view.benchmarks.items():
        metric = str(record.get("metric"))
        score, error, chance = (number(record.get(field)) for field in (metric, f"{metric}_stderr", "chance"))
        if score is None:
            continue
        text = Text().append(f"{visible(name)} ", style="dim").append(f"{100 * score:.1f}", style="bold")
        text.append(f" ± {100 * error:.1f}" if error is not None else "", style="dim")
        text.append(f" ({100 * chance:.0f})" if chance is not None else "", style="dim")
        texts.append(text)
    if not texts:
        return []
    step = max(number(record.get("step"), 0) for record in view.benchmarks.values())
    lines = [Text(words("scores_at", step=integer(step)), style="dim")]
    for text in texts:
        if lines[-1].cell_len + 3 + text.cell_len > width - label_width and len(lines) < most:
            lines.append(text)
        else:
            lines[-1] = Text("   ").join([lines[-1], text])
    return _labelled(lines, words("benchmarks"), label_width, words)


def checkpoint_rows(view: RunView, words: Words, label_width: int, most: int) -> list[Text]:
    """The newest checkpoints, and the best one in any case."""
    newest = view.checkpoints[::-1]
    shown = newest[:most]
    best = [checkpoint for checkpoint in newest if checkpoint.is_best and checkpoint not in shown]
    lines = [_checkpoint(checkpoint, words) for checkpoint in [*shown[: most - len(best)], *best]]
    return _labelled(lines, words("checkpoints"), label_width, words)


def event_rows(view: RunView, words: Words, label_width: int, most: int) -> list[Text]:
    """The latest events, newest first."""
    left_out = {event.get("step") for event in view.events if event.get("action") == "skip"}
    events = [
        event
        for event in view.events
        if event.get("event") not in UNLISTED_EVENTS
        # the spike's own line says that the update was left out
        and not (event.get("event") == "update_skipped" and event.get("step") in left_out)
    ]
    lines = []
    for event in events[::-1][:most]:
        style = EVENT_STYLES.get(str(event.get("event")), "")
        line = Text().append(clock(event), style="dim").append(" ! " if style else "   ", style=style)
        lines.append(line.append(words.event(event), style=style))
    return _labelled(lines, words("events"), label_width, words)


def _checkpoint(checkpoint: Checkpoint, words: Words) -> Text:
    marker, saved = checkpoint.marker, checkpoint.saved
    line = Text().append(set_cell_size(words("step_alone", step=integer(checkpoint.step)), 13), style="bold")
    kinds = [words("kind.best")] if checkpoint.is_best else []
    kinds += [words("kind.milestone")] if marker.get("kind") == "milestone" else []
    kinds += [words("weights_only")] if marker.get("weights_only") else []
    kinds += [words("checksums" if marker.get("integrity_sha256") else "no_checksums")]
    line.append(", ".join(kinds), style="green" if checkpoint.is_best else "")
    if checkpoint.damage:
        line.append(f"  {words('damaged', reason=visible(checkpoint.damage))}", style="bold red")
    facts = [clock(saved)] if saved else []
    facts += [words("validation_loss", loss=f"{loss:.4f}")] if (loss := number(marker.get("validation_loss"))) else []
    facts += [size(volume)] if (volume := number(saved.get("bytes"))) else []
    seconds, blocked = number(saved.get("seconds")), number(saved.get("blocked_seconds"))
    facts += [words("blocked", seconds=f"{seconds:.1f}", blocked=f"{blocked:.1f}")] if seconds and blocked else []
    return line.append("".join(f"  {part}" for part in facts), style="dim")


def _labelled(lines: list[Text], label: str, width: int, words: Words) -> list[Text]:
    """Lines with the label before the first; one line that says so where there is none."""
    rows = []
    for index, line in enumerate(lines or [Text(words("not_yet"), style="dim")]):
        head = label if index == 0 else ""
        row = Text(no_wrap=True, overflow="ellipsis").append(set_cell_size(head, width), style="dim")
        rows.append(row.append_text(line))
    return rows
