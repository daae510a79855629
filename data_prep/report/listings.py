"""What stages removed: dropped documents by reason, copies beside what they matched, passages, evaluation items."""

import heapq
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from data_prep.report.sampling import key_of
from data_prep.report.stage_files import FinishedStage
from data_prep.report.survey import named
from data_prep.sources import packed
from data_prep.sources.bad_lines import FIELD as BAD_LINE
from data_prep.stages import TEXT_STAGES
from megatron_recipe.errors import DataError

SHOWN_PER_REASON = 3
SHOWN_COPIES = 6
SHOWN_PASSAGES = 12
SHOWN_ITEMS = 6
SHOWN_CHARACTERS = 400
SIMILARITY_BINS = 10
MAX_GROUPS = 15
Record = dict[str, Any]


class Few:
    """The records with the smallest random numbers: a sample of a stream whose length is not known."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.heap: list[tuple[int, int, Record]] = []

    def add(self, drawn: int, number: int, record: Record) -> None:
        """Offer a record; `number` is its place in the stream."""
        entry = (-drawn, -number, record)
        if len(self.heap) < self.size:
            heapq.heappush(self.heap, entry)
        elif entry[:2] > self.heap[0][:2]:
            heapq.heapreplace(self.heap, entry)

    def records(self) -> list[Record]:
        """In the order of the stream."""
        return [record for _, _, record in sorted(self.heap, key=lambda entry: -entry[1])]


def records(path: Path) -> Iterator[Record]:
    """The records of a JSONL file, packed or not."""
    for number, line in enumerate(packed.lines_of(path), 1):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: no record ({error}); delete the stage's folder, run it again") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: no record; delete the stage's folder and run it again")
        yield record


def dropped_documents(stages: dict[str, FinishedStage], seed: int) -> dict[str, Any]:
    """Counts by stage and reason of all documents in the `dropped` folders, by source and category, and a few of each.

    Copies have no folder but a list, so that their count is taken from that.
    """
    listed: dict[str, Counter[str]] = {}
    by_group: dict[str, dict[str, Counter[str]]] = {"source": {}, "category": {}}
    few: dict[tuple[str, str], Few] = {}
    for name in TEXT_STAGES:
        if name not in stages:
            continue
        counts = listed.setdefault(name, Counter())
        for path in sorted((stages[name].folder / "dropped").rglob("*.jsonl*")):
            for number, record in enumerate(records(path)):
                metadata = _metadata(record)
                reason = str(metadata.get("filter_reason") or "unknown")
                counts[reason] += 1
                for group, tables in by_group.items():
                    tables.setdefault(named(metadata, group) or "", Counter())[reason] += 1
                drawn = key_of(seed, f"{name}/{path.parent.name}/{path.name}/{number}")
                few.setdefault((name, reason), Few(SHOWN_PER_REASON)).add(
                    drawn, sum(counts.values()), _shown(record, metadata)
                )
    return {
        "listed": {name: dict(counts) for name, counts in listed.items()},
        **{f"by_{group}": _largest(tables) for group, tables in by_group.items()},
        "samples": [
            {"stage": stage, "reason": reason, "texts": sample.records()} for (stage, reason), sample in few.items()
        ],
    }


def _metadata(record: Record) -> dict[str, Any]:
    """The record's metadata; none where it holds no table."""
    metadata = record.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _shown(record: Record, metadata: dict[str, Any]) -> Record:
    text = str(record.get("text") or metadata.get(BAD_LINE) or "")
    return {
        "id": str(record.get("id"))[:200],
        "source": named(metadata, "source"),
        "characters": len(text),
        "text": text[:SHOWN_CHARACTERS],
    }


def _largest(tables: dict[str, Counter[str]]) -> list[Record]:
    ordered = sorted(tables.items(), key=lambda item: (-item[1].total(), item[0]))
    rest = Counter[str]()
    for _, counts in ordered[MAX_GROUPS:]:
        rest += counts
    rows = [{"name": name, "documents": counts.total(), "reasons": _ranked(counts)} for name, counts in ordered]
    others = {"name": None, "documents": rest.total(), "reasons": _ranked(rest)}
    return [*rows[:MAX_GROUPS], *([others] if rest else [])]


def _ranked(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def duplicates(stage: FinishedStage, bytes_in: int | None, seed: int) -> dict[str, Any]:
    """The rates of a finished deduplication, pairs with their similarity, and the most repeated passages; all exact."""
    result = stage.result
    listed, few = Counter[str](), {"exact_duplicate": Few(SHOWN_COPIES // 2), "near_duplicate": Few(SHOWN_COPIES)}
    threshold = float(stage.settings.get("near_threshold", 0.8))
    bins = [0] * SIMILARITY_BINS
    path = stage.listing("removed")
    for number, record in enumerate(records(path) if path else ()):
        reason, similarity = str(record.get("reason")), float(record.get("similarity", 0.0))
        listed[reason] += 1
        if reason == "near_duplicate" and threshold < 1:
            place = int((similarity - threshold) / (1 - threshold) * SIMILARITY_BINS)
            bins[min(max(place, 0), SIMILARITY_BINS - 1)] += 1
        few.setdefault(reason, Few(SHOWN_COPIES)).add(key_of(seed, f"removed/{number}"), number, record)
    width = (1 - threshold) / SIMILARITY_BINS
    removed_bytes = result["changes"].get("passage_bytes_removed", 0)
    return {
        "documents": result["documents_in"],
        "rates": {
            reason: {"count": result["dropped"].get(reason, 0), "of": result["documents_in"]}
            for reason in ("exact_duplicate", "near_duplicate", "only_repeated_passages")
        },
        "passages_removed": result["changes"].get("passages_removed", 0),
        "passage_bytes_removed": removed_bytes,
        "bytes_in": bytes_in,
        "passage_byte_share": removed_bytes / bytes_in if bytes_in else None,
        "near_threshold": threshold,
        "similarity": {"edges": [round(threshold + i * width, 6) for i in range(SIMILARITY_BINS + 1)], "counts": bins},
        "listed": dict(listed) if path else None,
        "pairs": [pair for sample in few.values() for pair in sample.records()],
        "passages": _passages(stage.listing("passages")),
    }


def _passages(path: Path | None) -> list[Record]:
    few = Few(SHOWN_PASSAGES)
    for number, record in enumerate(records(path) if path else ()):
        few.add(number, number, record)  # the list is sorted, most removed first
        if number + 1 == SHOWN_PASSAGES:
            break
    return [record | {"text": str(record.get("text"))[:SHOWN_CHARACTERS]} for record in few.records()]


def contamination(stage: FinishedStage, seed: int) -> dict[str, Any]:
    """Overlaps with evaluation sets by set, documents dropped, and a few of the overlaps; all exact."""
    sets: dict[str, Record] = {}
    few = Few(SHOWN_ITEMS)
    path = stage.listing("contaminated")
    for number, record in enumerate(records(path) if path else ()):
        row = sets.setdefault(str(record.get("set")), {"overlaps": 0, "dropped": 0})
        row["overlaps"] += 1
        row["dropped"] += bool(record.get("dropped"))
        few.add(key_of(seed, f"contaminated/{number}"), number, record)
    return {
        "documents": stage.result["documents_in"],
        "dropped": stage.result["dropped"].get("contaminated", 0),
        "sets": [{"name": name, **row} for name, row in sorted(sets.items())],
        "overlaps": [record | {"text": str(record.get("text"))[:SHOWN_CHARACTERS]} for record in few.records()],
    }
