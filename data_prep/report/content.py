"""All that a report says, as one JSON value: what stages counted, and what is measured on samples."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_prep.report.estimates import exactly
from data_prep.report.inputs import Corpus, ExactCopies
from data_prep.report.listings import contamination, dropped_documents, duplicates
from data_prep.report.sampling import Population, choose
from data_prep.report.stage_files import funnel
from data_prep.report.survey import measure
from megatron_recipe.console import progress
from megatron_recipe.errors import DataError

FORMAT = "megatron-recipe/data-report/1"


def build_report(corpus: Corpus, sample: int, seed: int, tokenizer: Path | None) -> dict[str, Any]:
    """Read the corpus and measure it.

    Args:
        sample: documents of each population to measure; 0 for all.

    Raises:
        DataError: a file is damaged, or there is no document.
    """
    rows = funnel(corpus.stages)
    by_name = {row["name"]: row for row in rows}
    count_tokens = _token_counter(tokenizer or corpus.tokenizer)
    copies = ExactCopies() if corpus.kind == "files" else None
    dataset = _dataset(corpus.manifest)
    populations = {}
    for population in corpus.populations:
        written = _written_totals(population, dataset)
        counter = None if written else count_tokens
        populations[population.name] = _survey(population, sample, seed, counter, copies) | written
    dropped = dropped_documents(corpus.stages, seed)
    ran = [row for row in rows if row["run"]]
    deduplicate, decontaminate = (corpus.stages.get(name) for name in ("deduplicate", "decontaminate"))
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": corpus.name,
        "kind": corpus.kind,
        "sample": sample,
        "seed": seed,
        "stages": rows,
        "funnel": {
            "read": ran[0]["documents_in"],
            "kept": ran[-1]["documents_out"],
            "dropped": sum(row["documents_dropped"] for row in ran),
            "adds_up": all(row["adds_up"] and row["follows"] for row in ran),
        }
        if ran
        else None,
        "dataset": dataset,
        "populations": populations,
        "dropped": dropped,
        "checks": _checks(rows, dropped["listed"], populations),
        "exact_copies": copies.rate() if copies else None,
        "duplicates": duplicates(deduplicate, by_name["deduplicate"]["bytes_in"], seed) if deduplicate else None,
        "contamination": contamination(decontaminate, seed) if decontaminate else None,
    }


def _survey(
    population: Population,
    sample: int,
    seed: int,
    count_tokens: Callable[[str], int] | None,
    copies: ExactCopies | None,
) -> dict[str, Any]:
    with progress(f"count {population.name}", population.documents, "documents") as advance:

        def see(item: Any) -> None:
            if copies:
                copies.see(item)
            advance()

        chosen = choose(population, sample, seed, see)
        if copies:
            population = replace(population, bytes=copies.bytes)
    if not chosen.documents:
        raise DataError(f"{', '.join(map(str, population.parts)) or 'the stage'}: no document to report on")
    with progress(f"measure {population.name}", chosen.size, "documents") as advance:
        return measure(population, chosen, count_tokens, advance)


def _token_counter(file: Path | None) -> Callable[[str], int] | None:
    if file is None:
        return None
    from data_prep.tokenizers.load import load_reference

    tokenizer = load_reference(file)
    return lambda text: len(tokenizer.encode(text))


def _dataset(manifest: dict[str, Any] | None) -> dict[str, Any] | None:
    if manifest is None:
        return None
    names = ("documents", "tokens", "bytes", "characters")
    splits = {split: {name: values[name] for name in names} for split, values in manifest["splits"].items()}
    tokenizer = {name: manifest["tokenizer"][name] for name in ("kind", "vocab_size")}
    return {"created": manifest["created"], "splits": splits, "tokenizer": tokenizer}


def _written_totals(population: Population, dataset: dict[str, Any] | None) -> dict[str, Any]:
    """What writing the dataset counted needs no estimate, if it was written of these documents."""
    if dataset is None or population.name != "after":
        return {}
    totals = {name: sum(s[name] for s in dataset["splits"].values()) for name in ("documents", "characters", "tokens")}
    if totals["documents"] != population.documents:
        return {}
    return {name: exactly(totals[name]) for name in ("characters", "tokens")}


def _checks(
    rows: list[dict[str, Any]], listed: dict[str, dict[str, int]], populations: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """What must be equal, with both numbers: sums of each stage, stages in a row, files and what stages say of them."""
    checks: list[dict[str, Any]] = []

    def check(name: str, stage: str, said: int, found: int) -> None:
        checks.append({"name": name, "stage": stage, "said": said, "found": found, "holds": said == found})

    ran = [row for row in rows if row["run"]]
    for row, before in zip(ran, [None, *ran], strict=False):
        check("sum", row["name"], row["documents_in"], row["documents_out"] + row["documents_dropped"])
        if before:
            check("follows", row["name"], before["documents_out"], row["documents_in"])
        copies = sum(row["dropped"].get(reason, 0) for reason in ("exact_duplicate", "near_duplicate"))
        check("listed", row["name"], row["documents_dropped"] - copies, sum(listed.get(row["name"], {}).values()))
    for place, population in populations.items():
        if population["documents_expected"] is not None:
            check("shards", place, population["documents_expected"], population["documents"]["value"])
    return checks
