"""Named held-out texts: a dataset's validation split, a JSON-lines file, or a text file.

`NAME=PATH` names one; a path alone takes the name of its file or folder.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from checkpoints_tools.held_out import Document, read_held_out
from megatron_recipe.errors import ConfigError, DataError, in_short

SUFFIXES = (".jsonl", ".txt")


def parse_sets(texts: Sequence[str]) -> dict[str, Path]:
    """Paths by name; the only dataset folder, without a name, is "validation", which run reports read.

    Raises:
        ConfigError: two have the same name.
        DataError: one is not there or is nothing that can be read.
    """
    sets: dict[str, Path] = {}
    folders = sum(Path(text.partition("=")[2] or text).is_dir() for text in texts)
    for text in texts:
        name, found, path = text.partition("=")
        file = Path(path if found else text)
        label = name if found else "validation" if folders == 1 and file.is_dir() else file.stem
        if label in sets:
            raise ConfigError(f"two validation sets are named {label}; name them: --dataset NAME={file}")
        if not file.is_dir() and not (file.is_file() and file.suffix in SUFFIXES):
            raise DataError(f"{file}: not a dataset folder nor a {' or '.join(SUFFIXES)} file")
        sets[label] = file
    return sets


def describe(name: str, path: Path) -> str:
    """A line for --dry-run: what a set holds. Raises DataError where a dataset has no manifest."""
    if not path.is_dir():
        return f"{name}: {path.stat().st_size:,} bytes of {path}"
    from data_prep.manifest import read_manifest

    split = read_manifest(path)["splits"]["validation"]
    next(read_held_out(path), None)  # raises where the text is gone
    return f"{name}: {split['documents']:,} documents, {split['tokens']:,} tokens of {path}"


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a set. Raises DataError where it cannot be read."""
    if path.is_dir():
        yield from read_held_out(path)
    elif path.suffix == ".txt":
        yield Document(_text(path), path.stem, "unknown")
    else:
        yield from _json_lines(path)


def _json_lines(path: Path) -> Iterator[Document]:
    # not splitlines: U+2028 and its like may stand inside JSON's strings
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            facts = {**record, **(record.get("metadata") or {})}
            if not isinstance(record["text"], str):
                raise TypeError(f"text is {type(record['text']).__name__}")
            source, language = facts.get("source", path.stem), facts.get("language", "unknown")
            yield Document(record["text"], str(source), str(language))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f'{path}, line {number}: not a document ({in_short(error)}); write {{"text": "…"}}'
            ) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 ({error})") from error
