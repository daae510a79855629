"""How much a text repeats itself and how much texts differ, in English and Chinese.

Units are Han characters and the runs of other characters between blanks, so that models with different tokenizers
compare. Repetition is the share of a text's 4-grams that stand in it before (seq-rep-4 of Welleck et al. 2020,
arXiv 1908.04319); distinct-n the share of different n-grams among those of all texts (Li et al. 2016,
arXiv 1510.03055).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

HAN = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af"
UNIT = re.compile(f"[{HAN}]|[^\\s{HAN}]+")
REPEATED = 4
DISTINCT = (1, 2, 3)


def units(text: str) -> list[str]:
    """Han characters and words, in order."""
    return UNIT.findall(text)


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of `n` words."""
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def repetition(text: str) -> float | None:
    """Share of the 4-grams of a text that are not new; None for a text that is too short to have one."""
    runs = ngrams(units(text), REPEATED)
    return 1 - len(set(runs)) / len(runs) if runs else None


def distinct(texts: Iterable[str], n: int) -> float | None:
    """Different n-grams of all texts / all of them; None where there is none."""
    runs = [run for text in texts for run in ngrams(units(text), n)]
    return len(set(runs)) / len(runs) if runs else None


def text_metrics(texts: Sequence[str]) -> dict[str, Any]:
    """Figures of some texts; repetition is the mean over those that are long enough."""
    repeated = [share for share in map(repetition, texts) if share is not None]
    return {
        "texts": len(texts),
        "empty": sum(not text.strip() for text in texts),
        "mean_units": sum(len(units(text)) for text in texts) / max(len(texts), 1),
        "repetition_4": sum(repeated) / len(repeated) if repeated else None,
        **{f"distinct_{n}": distinct(texts, n) for n in DISTINCT},
    }


def metrics_by_mode(samples: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`text_metrics` of the continuations of each mode."""
    modes = dict.fromkeys(sample["mode"] for sample in samples)
    return {mode: text_metrics([one["text"] for one in samples if one["mode"] == mode]) for mode in modes}
