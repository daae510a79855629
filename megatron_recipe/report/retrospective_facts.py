"""The basic facts of a retrospective: model, data, machine, time and scores; what no file says is None."""

import json
from pathlib import Path
from typing import Any

from eval.score_table import verdict
from megatron_recipe.errors import DataError
from megatron_recipe.report.benchmarks import last_scores
from megatron_recipe.report.document import Block, Cell, Facts, Table
from megatron_recipe.report.formats import decimal, integer, percent, perplexity, ratio, visible, when
from megatron_recipe.report.problems import BEGINNINGS, ENDINGS
from megatron_recipe.report.run_files import Record, Run
from megatron_recipe.report.scorecard import has_ended, tokenizer
from megatron_recipe.report.summary import Summary, device_label
from megatron_recipe.report.training import is_number
from megatron_recipe.report.words import Words

SCORES = "eval/harness.json"
OF_TRAINING = ("chance", "questions", "step")
"""On both sides of a score: a 95 % interval."""


def basic_facts(run: Run, summary: Summary, words: Words) -> Facts:
    """What was trained, on what, how long and how well."""
    held, device = summary.held_out, device_label(run.environment)
    model = run.config.get("model") or {}
    shape = (
        words("fact.shape.value", layers=model["num_layers"], hidden=integer(model.get("hidden_size")))
        if model.get("num_layers")
        else None
    )
    mfu, counted = percent(summary.mfu_full), tokenizer(run, words) if held else ""
    origin = ""
    if held:
        origin = (
            words("headline.from_training", step=integer(held.step))
            if held.step is not None
            else words("headline.from_evaluation", documents=integer(held.documents), tokens=integer(held.tokens))
        )
    return Facts(
        (
            (words("facts.began"), Cell(_time(run, BEGINNINGS, 0) or _started(run))),
            (words("facts.last"), Cell(_time(run, ENDINGS, -1), note=_ending(run, summary, words))),
            (words("fact.parameters"), _count(summary.parameters)),
            (words("fact.shape"), Cell(shape)),
            (words("fact.tokens"), _count(summary.tokens)),
            (words("facts.per_parameter"), _maybe(summary.tokens_per_parameter, ratio)),
            (words("fact.steps"), _count(summary.steps)),
            (words("fact.device"), Cell(visible(device) if device else None)),
            (words("fact.duration"), Cell(words.duration(summary.seconds))),
            (words("fact.speed"), _count(summary.tokens_per_second)),
            (words("fact.mfu"), Cell(None if summary.mfu_full is None else f"{mfu} / {percent(summary.mfu_causal)}")),
            (words("fact.train_loss"), _maybe(summary.train_loss, decimal)),
            (words("headline.loss"), Cell(decimal(held.loss) if held else None, note=origin)),
            (words("headline.perplexity"), Cell(perplexity(held.perplexity) if held else None, note=counted)),
            (words("headline.bits"), _maybe(held.bits_per_byte if held else None, decimal)),
        )
    )


def data_table(run: Run, words: Words) -> list[Block]:
    """The datasets, with what their manifests counted."""
    if not run.datasets:
        return []
    rows = []
    for dataset in run.datasets:
        manifest: dict[str, Any] = dataset.manifest or {}
        counts, train = manifest.get("counts") or {}, (manifest.get("splits") or {}).get("train") or {}
        sources = list(dict.fromkeys(str(source.get("name")) for source in manifest.get("sources") or []))
        rows.append(
            (
                Cell(dataset.path, note=words.list(sources[:6]) + (" …" if len(sources) > 6 else ""), code=True),
                _count(counts.get("read")),
                _count(counts.get("kept")),
                _count(train.get("tokens")),
            )
        )
    head = tuple(words(key) for key in ("data.title", "data.read", "data.kept", "facts.train_tokens"))
    return [Table(head, tuple(rows), numbers_from=1, caption=words("data.counts"), name="datasets")]


def scores_table(run: Run, words: Words) -> list[Block]:
    """Benchmarks by lm-eval, where the run or its newest export has any; else those of its training, at their last."""
    in_training = {
        row.name: {"score": row.score, "stderr": row.error, **{name: getattr(row, name) for name in OF_TRAINING}}
        for row in last_scores(run)
    }
    rows = []
    for name, entry in (in_training | read_scores(run)).items():
        score, error, chance = entry.get("score"), entry.get("stderr"), entry.get("chance")
        judged = all(is_number(value) for value in (score, error, chance, entry.get("questions")))
        spread = f"± {percent(error)}" if is_number(error) else ""
        rows.append(
            (
                Cell(
                    name, code=True, note=words("facts.at_step", step=integer(entry["step"])) if "step" in entry else ""
                ),
                Cell(None if score is None else percent(score), note=spread),
                Cell(None if chance is None else percent(chance)),
                _count(entry.get("questions")),
                Cell(words(f"verdict.{verdict(entry)}") if judged else None),
            )
        )
    if not rows:
        return []
    head = tuple(words(f"column.{name}") for name in ("benchmark", "score", "chance", "questions", "verdict"))
    return [Table(head, tuple(rows), numbers_from=1, caption=words("facts.scores"), name="scores")]


def read_scores(run: Run) -> dict[str, Record]:
    """The benchmarks of `megatron-recipe eval run`, by name: of the run, else of its newest export that has any.

    Raises DataError for a file that is no JSON.
    """
    for folder in (run.folder, *(Path(export["folder"]) for export in reversed(run.exports))):
        path = folder / SCORES
        if path.is_file():
            try:
                tasks = json.loads(path.read_bytes())["tasks"]
                return {str(name): dict(entry) for name, entry in tasks.items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{path} holds no benchmark scores ({error}); delete it and run eval again") from error
    return {}


def _count(value: float | None) -> Cell:
    return Cell(None if value is None else integer(value))


def _maybe(value: float | None, form: Any) -> Cell:
    return Cell(None if value is None else str(form(value)))


def _time(run: Run, names: tuple[str, ...], index: int) -> str | None:
    times = [event["time"] for event in run.events if event["event"] in names and event.get("time")]
    return when(str(times[index])) if times else None


def _started(run: Run) -> str | None:
    started = run.environment.get("started")
    return when(str(started)) if started else None


def _ending(run: Run, summary: Summary, words: Words) -> str:
    ended = has_ended(run, summary)
    return "" if ended is None else words("facts.ended" if ended else "facts.not_ended")
