"""Evidence of the data: downloads, reports on text, the clean dataset, duplicates, the tokenizer study."""

import re
from typing import Any

from megatron_recipe.month.evidence import Found, Recogniser
from megatron_recipe.month.folder import NOTES, Folder

REPORT = "megatron-recipe/data-report/"
METHOD = re.compile(r"^(exact|minhash|simhash) +([\d.]+) +(\d+) +([\d.]+%) +([\d.]+) +([\d.]+) ", re.MULTILINE)
"""A row of the second table of benchmarks/dedup.py: seconds, removed, exact ones found, recall, precision."""


def download(folder: Folder, _: str) -> Found | None:
    """A complete download, the largest of them."""
    records = [(file, folder.record(file)) for file in folder.found("corpora/*/download.json")]
    whole = [(file, one) for file, one in records if one.get("complete") and one.get("files")]
    if not whole:
        return None
    sizes = {file: sum(part["bytes"] for part in one["files"]) for file, one in whole}
    file, record = max(whole, key=lambda one: sizes[one[0]])
    values = {
        "dataset": record["dataset"],
        "subset": record["subset"],
        "files": len(record["files"]),
        "mb": sizes[file] / 1e6,
        "tokens": (record.get("tokens") or 0) / 1e6,
        "downloads": len(whole),
    }
    return Found("download", file, values)


def _reports(folder: Folder) -> list[tuple[str, dict[str, Any]]]:
    reports = [(file, folder.record(file)) for file in folder.reports]
    return [(file, one) for file, one in reports if str(one.get("format", "")).startswith(REPORT)]


def _raw(folder: Folder) -> tuple[str, dict[str, Any]] | None:
    """The report on most text, and what it says of the text before it was cleaned."""
    found = [(file, one["populations"]["before"]) for file, one in _reports(folder) if "before" in one["populations"]]
    return max(found, key=lambda one: float(one[1]["documents"]["value"])) if found else None


def statistics(folder: Folder, _: str) -> Found | None:
    """How much text there is."""
    raw = _raw(folder)
    if raw is None:
        return None
    file, text = raw
    values = {
        "documents": text["documents"]["value"],
        "mb": text["bytes"]["value"] / 1e6,
        "characters": text["length"]["mean"]["value"],
    }
    return Found("statistics", file, values)


def languages(folder: Folder, _: str) -> Found | None:
    """The mix of languages, by documents and by bytes."""
    raw = _raw(folder)
    if raw is None or not raw[1]["language"]["rows"]:
        return None
    file, text = raw
    rows = sorted(text["language"]["rows"], key=lambda row: -row["documents"]["value"])
    mix = ", ".join(f"{row['name']} {row['documents']['value']:.1%} / {row['bytes']['value']:.1%}" for row in rows[:3])
    return Found("languages", file, {"mix": mix, "languages": len(rows)})


def lengths(folder: Folder, _: str) -> Found | None:
    """The histogram of lengths."""
    raw = _raw(folder)
    if raw is None:
        return None
    file, length = raw[0], raw[1]["length"]
    filled = sum(count > 0 for count in length["counts"])
    quantiles = {name: length["quantiles"][name] for name in ("p5", "p50", "p95")}
    return Found("lengths", file, {**quantiles, "bars": filled})


def before_after(folder: Folder, _: str) -> Found | None:
    """What cleaning and deduplication left of the text."""
    for file, report in reversed(_reports(folder)):
        both = report["populations"]
        if {"before", "after"} <= set(both):
            values = {
                "before": both["before"]["documents"]["value"],
                "after": both["after"]["documents"]["value"],
                "mb_before": both["before"]["bytes"]["value"] / 1e6,
                "mb_after": both["after"]["bytes"]["value"] / 1e6,
                "holds": sum(check["holds"] for check in report["checks"]),
                "checks": len(report["checks"]),
            }
            return Found("before_after", file, values)
    return None


def _manifest(folder: Folder) -> tuple[str, dict[str, Any]]:
    file = f"{folder.month.dataset.as_posix()}/manifest.json"
    return file, folder.record(file)


def dataset(folder: Folder, _: str) -> Found | None:
    """The dataset of the plan, with its tokens."""
    file, manifest = _manifest(folder)
    if not manifest:
        return None
    train = manifest["splits"]["train"]
    values = {
        "read": manifest["counts"]["read"],
        "kept": manifest["counts"]["kept"],
        "tokens": train["tokens"] / 1e6,
        "vocabulary": manifest["tokenizer"]["vocab_size"],
        "bytes_per_token": train["bytes"] / train["tokens"],
        "sources": len(manifest["sources"]),
    }
    return Found("dataset", file, values)


def duplicates(folder: Folder, how: str) -> Found | None:
    """Duplicates that were removed: `exact` or `near` ones (MinHash)."""
    file, manifest = _manifest(folder)
    if not manifest:
        return None
    counts = manifest["counts"]
    removed = counts["dropped"].get(f"{how}_duplicate", 0)
    threshold = manifest["settings"]["deduplicate"]["near_threshold"]
    share = removed / counts["read"]
    return Found(
        f"duplicates_{how}", file, {"removed": removed, "read": counts["read"], "share": share, "threshold": threshold}
    )


def methods(folder: Folder, _: str) -> Found | None:
    """Exact hashes, MinHash and SimHash on one text with planted copies: the table of benchmarks/dedup.py."""
    for file in folder.found(f"{NOTES}/*.txt"):
        rows = {name: figures for name, *figures in METHOD.findall(folder.text(file))}
        if {"exact", "minhash", "simhash"} <= set(rows):
            recall = {f"{name}_recall": float(row[3]) for name, row in rows.items()}
            precision = {f"{name}_precision": float(row[4]) for name, row in rows.items()}
            return Found("methods", file, {**recall, **precision})
    return None


def tokenizers(folder: Folder, _: str) -> Found | None:
    """The compression study: several tokenizers on the same held-out text."""
    for file in folder.found("*/results.json"):
        study = folder.record(file)
        whole = [one for one in study.get("tokenizers", ()) if not one["loses_text"]]
        if len(study.get("tokenizers", ())) < 2 or not whole:
            continue
        best = min(whole, key=lambda one: float(one["flops_per_byte"]))
        parts = [f"{name} {one['bytes_per_token']:.2f}" for name, one in best["sources"].items()]
        values = {
            "tokenizers": len(study["tokenizers"]),
            "lossy": len(study["tokenizers"]) - len(whole),
            "best": best["name"],
            "bytes_per_token": best["bytes_per_token"],
            "by_source": ", ".join(parts),
            "renyi": best["renyi_efficiency"],
            "gflop_per_byte": best["flops_per_byte"] / 1e9,
            "worst_gflop": max(one["flops_per_byte"] for one in whole) / 1e9,
        }
        return Found("tokenizers", file, values)
    return None


def page(folder: Folder, which: str) -> Found | None:
    """A report as a page: of the `dataset`, of the `tokenizers`, of the `small` or the `big` run."""
    study = tokenizers(folder, "")
    places = {
        "dataset": folder.month.dataset.as_posix(),
        "tokenizers": study.file.rpartition("/")[0] if study else "",
        "small": folder.small,
        "big": folder.big,
    }
    file = f"{places[which]}/report.html"
    return Found("page", file, {"kb": folder.size(file) / 1e3}) if places[which] and folder.has(file) else None


TABLE: dict[str, Recogniser] = {
    "download": download,
    "statistics": statistics,
    "languages": languages,
    "lengths": lengths,
    "before_after": before_after,
    "dataset": dataset,
    "duplicates": duplicates,
    "methods": methods,
    "tokenizers": tokenizers,
    "page": page,
}
