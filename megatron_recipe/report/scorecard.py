"""The goals of the plan, each judged yes, no or not measured, with the file and the figure that say so."""

import math
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe.plan.cost import rate
from megatron_recipe.report.bill import Bill
from megatron_recipe.report.commands import shown_path
from megatron_recipe.report.comparison import conclusions
from megatron_recipe.report.comparison_file import COMPARISON, Comparison
from megatron_recipe.report.formats import fact, integer, money, perplexity, short
from megatron_recipe.report.run_files import Record, Run
from megatron_recipe.report.summary import Summary
from megatron_recipe.report.training import is_number
from megatron_recipe.report.words import Words

COST_LIMITS_CNY = (3_000, 5_000)
PERPLEXITY_LIMIT = 20.0
FEWEST_PARAMETERS = 0.95e9
"""What rounds to a billion, to a tenth."""
FEWEST_TOKENS_PER_PARAMETER = 1.0
"""A trial of a few steps also has an end, and trains nothing."""


@dataclass(frozen=True)
class Judgement:
    """One goal. `is_met` is None where it was not measured; the evidence then says what is missing."""

    goal: str
    is_met: bool | None
    evidence: str
    file: str


def scorecard(run: Run, summary: Summary, bill: Bill, comparisons: list[Comparison], words: Words) -> list[Judgement]:
    """All goals, in the plan's order."""
    return [
        *(_cost(run, summary, bill, limit, words) for limit in COST_LIMITS_CNY),
        _size(run, summary, words),
        *_perplexities(run, words),
        _proof(comparisons, words),
    ]


def has_ended(run: Run, summary: Summary) -> bool | None:
    """Whether the run came to its planned end; None where nothing says what it reached."""
    if any(event["event"] == "end" for event in run.events):
        return True
    planned = (run.config.get("train") or {}).get("steps")
    return None if summary.steps is None else bool(planned and summary.steps >= planned)


def _cost(run: Run, summary: Summary, bill: Bill, limit: int, words: Words) -> Judgement:
    goal, file = words("goal.cost", limit=integer(limit)), _file(run, "spending.json")
    if bill.amount is None or bill.currency is None:
        return Judgement(goal, None, words(f"bill.{bill.missing}"), file)
    amount = money(bill.amount, bill.currency)
    if bill.cny is None:
        return Judgement(goal, None, words("goal.cost.other", amount=amount), file)
    evidence = words("goal.cost.given" if bill.is_given else "goal.cost.recorded", amount=amount)
    if bill.currency != "cny":
        evidence += words("page.space") + words(
            "goal.cost.rate", amount=money(bill.cny, "cny"), rate=rate().cny_per_usd, date=rate().date
        )
    if not has_ended(run, summary):
        evidence += words("page.space") + words("goal.cost.so_far")
    return Judgement(goal, bill.cny < limit, evidence, file)


def _size(run: Run, summary: Summary, words: Words) -> Judgement:
    goal = words("goal.size")
    if summary.parameters is None:
        return Judgement(goal, None, words("goal.size.unknown"), _file(run, "environment.json"))
    known = words("goal.size.parameters", parameters=integer(summary.parameters))
    if summary.parameters < FEWEST_PARAMETERS:
        return Judgement(goal, False, known, _file(run, "environment.json"))
    ended = has_ended(run, summary)
    if ended is None or summary.tokens is None:
        return Judgement(goal, None, words("goal.size.no_metrics", known=known), _file(run, "metrics.jsonl"))
    key = "goal.size.ended" if ended else "goal.size.not_ended"
    planned = (run.config.get("train") or {}).get("steps")
    reached = {"step": integer(summary.steps), "planned": fact(planned), "tokens": short(summary.tokens)}
    evidence = words(key, known=known, **reached)
    enough = summary.tokens >= FEWEST_TOKENS_PER_PARAMETER * summary.parameters
    if ended and not enough:
        evidence += words("page.space") + words("goal.size.few")
    return Judgement(goal, ended and enough, evidence, _file(run, "metrics.jsonl"))


def _perplexities(run: Run, words: Words) -> list[Judgement]:
    """A judgement for each set: a perplexity is that of a text, cut by a tokenizer."""
    sets = (run.perplexity or {}).get("splits") or {}
    if sets:
        return [_perplexity(run, words, name, split, None) for name, split in sets.items()]
    kinds = {"": run.validation, **run.validation_sets}
    last = {name: records[-1] for name, records in kinds.items() if records}
    if last:
        return [_perplexity(run, words, name, record, record["step"]) for name, record in last.items()]
    file = _file(run, "eval/perplexity.json")
    return [Judgement(words("goal.perplexity"), None, words("goal.perplexity.none"), file)]


def _perplexity(run: Run, words: Words, name: str, found: Record, step: float | None) -> Judgement:
    named = words("goal.perplexity.on", name=name) if name else words("goal.perplexity")
    file = _file(run, "eval/perplexity.json" if step is None else "metrics.jsonl")
    loss = found.get("loss")
    if not is_number(loss):
        return Judgement(named, None, words("goal.perplexity.none"), file)
    value = math.exp(min(loss, 700.0))
    if step is None:
        by = run.perplexity or {}
        dataset = str(found.get("path") or by.get("dataset") or words("not_measured"))
        model = str(by.get("model") or words("not_measured"))
        facts = {"dataset": dataset, "model": model, "tokens": integer(found.get("tokens"))}
        evidence = words("goal.perplexity.whole", value=perplexity(value), **facts)
    else:
        evidence = words("goal.perplexity.training", value=perplexity(value), step=integer(step))
    return Judgement(named, value < PERPLEXITY_LIMIT, evidence + words("page.space") + tokenizer(run, words), file)


def tokenizer(run: Run, words: Words) -> str:
    """Which tokenizer the run's tokens are of."""
    manifest = next((dataset.manifest for dataset in run.datasets if dataset.manifest), None)
    if manifest is None:
        return words("goal.tokenizer.unknown")
    found = manifest["tokenizer"]
    return words("goal.tokenizer", kind=found.get("kind"), vocabulary=integer(found.get("vocab_size")))


def _proof(comparisons: list[Comparison], words: Words) -> Judgement:
    goal = words("goal.comparisons")
    if not comparisons:
        return Judgement(goal, None, words("goal.comparisons.none"), "")
    files = ", ".join(shown_path(one.folder / COMPARISON) for one in comparisons)
    proofs = [
        sentence
        for one in comparisons
        for entry, sentence in zip(one.conclusions, conclusions(one, words), strict=True)
        if entry["kind"] == "better"
    ]
    if proofs:
        return Judgement(goal, True, words("page.space").join(proofs), files)
    kinds = {entry["kind"] for one in comparisons for entry in one.conclusions}
    if "no_difference" in kinds:
        return Judgement(goal, False, words("goal.comparisons.no_difference"), files)
    return Judgement(goal, None, words("goal.comparisons.unmeasured"), files)


def _file(run: Run, name: str) -> str:
    return shown_path(run.folder / Path(name))
