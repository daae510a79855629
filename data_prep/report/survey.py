"""Measures the sample of one population: lengths, languages, quality signals, personal data, the web rules."""

import math
from array import array
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from data_prep.clean.catalog import DEFAULT_CLEANERS, build_cleaners
from data_prep.clean.language import LanguageLabel
from data_prep.clean.pii import MaskPII
from data_prep.report.estimates import Estimate, exactly, mean, quantiles, scaled, share, total_by_ratio
from data_prep.report.sampling import Chosen, Population, Text, read_chosen
from data_prep.report.signals import SHARES, SIGNALS, length_edges, signals

SHOWN_GROUPS = 15
"""Languages, sources and categories shown by name; the others are one row."""
SHOWN_TEXTS = 6
SHOWN_CHARACTERS = 700
MAX_NAME_CHARACTERS = 80
SIGNAL_BINS = 20
GROUPS = ("language", "source", "category")


class Survey:
    """Takes documents in one by one; keeps a few numbers of each, about 150 bytes, and a handful of texts.

    Args:
        count_tokens: tokens of a text; None where no tokenizer is known.
    """

    def __init__(self, count_tokens: Callable[[str], int] | None) -> None:
        self.count_tokens = count_tokens
        self.numbers = {name: array("d") for name in ("bytes", "characters", "tokens", *SIGNALS)}
        self.groups: dict[str, dict[str, int]] = {name: {} for name in GROUPS}
        self.group_of = {name: array("q") for name in GROUPS}
        self.pii: dict[str, array[int]] = {}
        self.reasons: dict[str, int] = {}
        self.reason_of = array("q")
        self.texts: list[tuple[int, Text, str]] = []
        self._label, self._mask = LanguageLabel(), MaskPII()
        self._rules = build_cleaners([entry for entry in DEFAULT_CLEANERS if "pii" not in entry])  # masks only

    def add(self, drawn: int, text: Text) -> None:
        """Measure one document, whose random number in the sample is `drawn`."""
        language = named(text.metadata, "language") or self._label.identify(text.text)[0]
        sizes = {"bytes": len(text.text.encode("utf-8", "surrogatepass")), "characters": len(text.text)}
        sizes["tokens"] = self.count_tokens(text.text) if self.count_tokens else 0
        for name, value in (sizes | signals(text.text, language)).items():
            self.numbers[name].append(value)
        names = {"language": language, **{name: named(text.metadata, name) or "" for name in ("source", "category")}}
        for group, name in names.items():
            self.group_of[group].append(self.groups[group].setdefault(name, len(self.groups[group])))
        reason = self._dropped_for(text)
        self.reason_of.append(-1 if reason is None else self.reasons.setdefault(reason, len(self.reasons)))
        self._count_pii(text)
        self.texts.append((drawn, text, language))
        if len(self.texts) > 4 * SHOWN_TEXTS:
            self.texts = self.first_texts()

    def first_texts(self) -> list[tuple[int, Text, str]]:
        """The documents to show: those with the smallest random numbers."""
        return sorted(self.texts, key=lambda one: one[0])[:SHOWN_TEXTS]

    def _dropped_for(self, text: Text) -> str | None:
        """The reason for which the web recipe's blocks, one after the other, would drop a document."""
        document = Document(text=text.text, id=text.id, metadata={})
        for block in self._rules:
            if not isinstance(block, BaseFilter):
                list(block.run(iter([document])))  # changes the document
                continue
            match block.filter(document):
                case (False, str(reason)):
                    return reason
                case False | (False, _):
                    return "unknown"
        return None

    def _count_pii(self, text: Text) -> None:
        found = Counter(self._mask.mask(text.text)[1])
        for kind in found:
            self.pii.setdefault(kind, array("q", [0] * (len(self.reason_of) - 1)))
        for kind, counts in self.pii.items():
            counts.append(found[kind])


def named(metadata: dict[str, Any], field: str) -> str | None:
    """A name in metadata, whatever type it has there, cut to a length that a table can hold."""
    value = metadata.get(field)
    return None if value is None or value == "" else str(value)[:MAX_NAME_CHARACTERS]


def measure(
    population: Population,
    chosen: Chosen,
    count_tokens: Callable[[str], int] | None,
    advance: Callable[..., None] = lambda: None,
) -> dict[str, Any]:
    """Read the sample of a population and measure it; the JSON's entry of the population."""
    survey = Survey(count_tokens)
    for drawn, text in read_chosen(population, chosen):
        survey.add(drawn, text)
        advance()
    return _described(survey, population, chosen)


def _described(survey: Survey, population: Population, chosen: Chosen) -> dict[str, Any]:
    arrays = {name: np.frombuffer(values, dtype=float) for name, values in survey.numbers.items()}
    documents, size = chosen.documents, chosen.size
    exact = size >= documents
    total_bytes = _total_bytes(population, arrays["bytes"], documents)
    known = total_bytes["value"]

    def total(name: str) -> Estimate:
        if not total_bytes["exact"]:
            return scaled(mean(arrays[name], documents), documents)
        return total_by_ratio(arrays[name], arrays["bytes"], known, documents)

    reasons = np.frombuffer(survey.reason_of, dtype=np.int64)
    pii = {kind: np.frombuffer(counts, dtype=np.int64) for kind, counts in sorted(survey.pii.items())}
    any_pii = np.any([counts > 0 for counts in pii.values()], axis=0) if pii else np.zeros(size, dtype=bool)
    return {
        "documents": exactly(documents),
        "documents_expected": population.documents,
        "sampled": size,
        "sampled_all": exact,
        "bytes": total_bytes,
        "characters": total("characters"),
        "tokens": total("tokens") if survey.count_tokens else None,
        "length": {"mean": mean(arrays["characters"], documents), "quantiles": quantiles(arrays["characters"])}
        | _histogram(arrays["characters"], length_edges()),
        "signals": {name: _signal(name, arrays[name], documents) for name in SIGNALS},
        "pii": {
            "any": share(int(any_pii.sum()), size, exact),
            "kinds": {
                kind: share(int((counts > 0).sum()), size, exact) | {"found": int(counts.sum())}
                for kind, counts in pii.items()
            },
        },
        "rules": {
            "any": share(int((reasons >= 0).sum()), size, exact),
            "reasons": _sorted({n: share(int((reasons == i).sum()), size, exact) for n, i in survey.reasons.items()}),
        },
        **{group: _groups(survey, group, arrays, reasons >= 0, any_pii, documents) for group in GROUPS},
        "texts": [_shown(text, language) for _, text, language in survey.first_texts()],
    }


def _total_bytes(population: Population, sampled: Any, documents: int) -> Estimate:
    if len(sampled) >= documents:
        return exactly(int(sampled.sum()))
    if population.bytes is not None:
        return exactly(population.bytes)
    return scaled(mean(sampled, documents), documents)


def _signal(name: str, values: Any, documents: int) -> dict[str, Any]:
    edges = [i / SIGNAL_BINS for i in range(SIGNAL_BINS + 1)] if name in SHARES else length_edges()
    average = mean(values, documents)
    highest = 1.0 if name in SHARES else math.inf
    average |= {"low": max(average["low"], 0.0), "high": min(average["high"], highest)}
    return {"mean": average, "quantiles": quantiles(values)} | _histogram(values, edges)


def _histogram(values: Any, edges: Any) -> dict[str, Any]:
    """Counts of documents by bin; each holds its lower end, the last one its upper end too."""
    return {"edges": list(edges), "counts": np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()}


def _groups(
    survey: Survey, group: str, arrays: dict[str, Any], dropped: Any, has_pii: Any, documents: int
) -> dict[str, Any]:
    of = np.frombuffer(survey.group_of[group], dtype=np.int64)
    size, exact = len(of), len(of) >= documents
    counts = np.bincount(of, minlength=len(survey.groups[group]))
    names = sorted(survey.groups[group].items(), key=lambda item: (-counts[item[1]], item[0]))

    all_bytes = float(arrays["bytes"].sum()) * documents / max(size, 1)  # a share needs no better total

    def row(inside: Any) -> dict[str, Any]:
        of_documents = share(int(inside.sum()), size, exact)
        inside_bytes = np.where(inside, arrays["bytes"], 0.0)
        of_bytes = total_by_ratio(inside_bytes, arrays["bytes"], all_bytes, documents)
        return {
            "documents": of_documents,
            # where all of the sample is of one group, its spread says nothing: then as sure as of the documents
            "bytes": of_documents if inside.all() else scaled(of_bytes, 1 / max(all_bytes, 1.0)),
            "mean_characters": float(arrays["characters"][inside].mean()) if inside.any() else 0.0,
            "rules": share(int((dropped & inside).sum()), int(inside.sum()), exact),
            "pii": share(int((has_pii & inside).sum()), int(inside.sum()), exact),
        }

    shown = names if len(names) <= SHOWN_GROUPS + 1 else names[:SHOWN_GROUPS]
    rest = np.isin(of, [index for _, index in names[len(shown) :]])
    return {
        "rows": [{"name": name, **row(of == index)} for name, index in shown],
        "others": {"names": len(names) - len(shown), **row(rest)} if len(names) > len(shown) else None,
    }


def _shown(text: Text, language: str) -> dict[str, Any]:
    return {
        "id": text.id[:200],
        "source": named(text.metadata, "source"),
        "language": language,
        "characters": len(text.text),
        "text": text.text[:SHOWN_CHARACTERS],
    }


def _sorted(shares: dict[str, Estimate]) -> dict[str, Estimate]:
    return dict(sorted(shares.items(), key=lambda item: (-item[1]["count"], item[0])))
