"""Scores as a table for the terminal: each with its error, chance, and what published models of 1B score."""

import math
from collections.abc import Sequence
from typing import Any

from eval.suites import benchmarks, references
from megatron_recipe.languages import require_language

ERRORS = 1.96
"""Standard errors on both sides of a score: a 95 % interval."""
UNKNOWN = "–"
WORDS = {
    "en": {
        "head": "{task:<16}{score:>16}  {chance:>7}  {shots:>5}  {verdict}",
        "task": "benchmark",
        "score": "score",
        "chance": "chance",
        "shots": "shots",
        "above": "above chance",
        "not_above": "not distinguishable from chance",
        "below": "below chance",
        "part": "{questions:,} of {of:,} questions",
        "references": "published, harness and settings differ:",
        "at": "at {tokens} tokens",
        "split": "on split {split}, published scores are of {usual}",
    },
    "zh": {
        "head": "{task:<16}{score:>16}  {chance:>7}  {shots:>5}  {verdict}",
        "task": "基准",
        "score": "得分",
        "chance": "随机",
        "shots": "样例数",
        "above": "高于随机",
        "not_above": "与随机猜测无法区分",
        "below": "低于随机",
        "part": "{of:,} 题中的 {questions:,} 题",
        "references": "已发表的得分（评测工具与设置不尽相同）：",
        "at": "训练 {tokens} token",
        "split": "所用为 {split} 部分，已发表的得分出自 {usual}",
    },
}


def table_lines(result: dict[str, Any], names: Sequence[str], lang: str) -> list[str]:
    """Lines of the table, scores in percent ± a standard error. Raises ConfigError for an unknown language."""
    require_language(lang)
    words = WORDS[lang]
    head = words["head"]
    lines = [head.format(**{name: words[name] for name in ("task", "score", "chance", "shots")}, verdict="").rstrip()]
    for name in names:
        entry = result["tasks"][name]
        error = UNKNOWN if entry["stderr"] is None else f"{100 * entry['stderr']:.2f}"
        score = f"{100 * entry['score']:.2f} ± {error}"
        notes = [words[verdict(entry)]]
        if entry["questions"] < entry["of"]:
            notes.append(words["part"].format(**entry))
        usual = benchmarks()[name].splits[0]
        if entry["split"] != usual:
            notes.append(words["split"].format(split=entry["split"], usual=usual))
        row = {"task": name, "score": score, "chance": f"{100 * entry['chance']:.1f}", "shots": entry["shots"]}
        lines.append(head.format(**row, verdict="; ".join(notes)))
    return [*lines, *reference_lines(names, words)]


def verdict(entry: dict[str, Any]) -> str:
    """above, below or not_above: whether the 95 % interval of the score holds chance.

    The interval is no narrower than that of a model which guesses: none of six right has a standard error of 0.
    """
    chance, distance = entry["chance"], entry["score"] - entry["chance"]
    guessing = math.sqrt(chance * (1 - chance) / max(entry["questions"], 1))
    if abs(distance) <= ERRORS * max(entry["stderr"] or 0.0, guessing):
        return "not_above"
    return "above" if distance > 0 else "below"


def reference_lines(names: Sequence[str], words: dict[str, str]) -> list[str]:
    """A line for each published score of these benchmarks, with its source."""
    lines = []
    for name in names:
        for one in references(name):
            note = f" ({one.note})" if one.note else ""
            at = words["at"].format(tokens=one.tokens)
            lines.append(f"  {name:<14}{one.score:>6.2f}  {one.model}, {at}{note} [{one.source}]")
    return ["", words["references"], *lines] if lines else []
