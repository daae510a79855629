"""Lists of words, phrases and regular expressions in text files, and how much of a text they match."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe.errors import ConfigError

FOLDER = Path(__file__).parent / "lists"


@dataclass(frozen=True)
class WordList:
    """A list ready to match.

    Args:
        name: of the file, without its ending: what drop reasons say.
        pattern: one alternation of all entries, for lower-case text.
    """

    name: str
    pattern: re.Pattern[str]

    def matches(self, lowered: str) -> tuple[int, int]:
        """Matches in a lower-case text, and the characters inside them; matches do not overlap."""
        found = self.pattern.findall(lowered)
        return len(found), sum(map(len, found))


def read_list(source: str | Path) -> WordList:
    """Read a list by its path, or by the name of one that comes with the project.

    The file has one entry a line: a word or phrase, or ``/a regular expression/``. ``#`` at the start of a line, or
    after white space, begins a comment. Matching ignores case. White space in a phrase matches any. An entry that
    begins or ends with a Latin letter or digit matches there only at the edge of a Latin word: ``casino`` is not in
    ``casinos``.

    Raises:
        ConfigError: no such list, one without entries, or one that is no UTF-8; an entry that is no regular expression
            or matches the empty text.
    """
    path = FOLDER / f"{source}.txt" if str(source) in shipped_lists() else Path(source)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(
            f"list {str(source)!r}: {error.strerror or error}; give the path of a text file, or one of "
            f"{', '.join(shipped_lists())}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: a list is a UTF-8 text file; byte {error.start} is not UTF-8") from error
    entries = list(_entries(path, lines))
    if not entries:
        raise ConfigError(f"{path}: the list has no entries; write one word or /regular expression/ a line")
    return WordList(path.stem, re.compile(_alternation(entries)))


def shipped_lists() -> list[str]:
    """Names of the lists that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def _entries(path: Path, lines: list[str]) -> Iterator[str]:
    """Each entry as a regular expression without groups."""
    for number, line in enumerate(lines, 1):
        entry = re.sub(r"(?:^|\s+)#.*", "", line.removeprefix("\ufeff")).strip()
        if len(entry) > 2 and entry.startswith("/") and entry.endswith("/"):
            yield f"(?:{_checked(f'{path}:{number}', entry[1:-1])})"
        elif entry:
            yield _phrase(entry.lower())


def _checked(where: str, expression: str) -> str:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ConfigError(f"{where}: /{expression}/ is no regular expression: {error}") from error
    if pattern.groups:
        raise ConfigError(f"{where}: /{expression}/ has a group; write (?:…) where (…) stands")
    if pattern.match(""):
        raise ConfigError(f"{where}: /{expression}/ matches the empty text, so every document; ask for a character")
    return expression


def _phrase(entry: str) -> str:
    """A phrase with the edges of Latin words, and any white space between its words."""
    first, *rest = (re.escape(character) if character != " " else r"\s+" for character in " ".join(entry.split()))
    # the look behind stands after the first character, so that a search can skip to characters that begin an entry
    before = "(?<![a-z0-9_].)" if _is_latin(entry[0]) else ""
    after = "(?![a-z0-9_])" if _is_latin(entry[-1]) else ""
    return f"{first}{before}{''.join(rest)}{after}"


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _alternation(entries: list[str]) -> str:
    """Longer entries first, so that they are found whole; grouped by first character, since `re` tries one by one."""
    plain = sorted((e for e in entries if e[0].isalnum()), key=lambda entry: (entry[0], -len(entry)))
    groups = [
        f"{first}(?:{'|'.join(entry[1:] for entry in group)})"
        for first, group in itertools.groupby(plain, key=lambda entry: entry[0])
    ]
    return "|".join([*groups, *(f"(?:{e})" for e in entries if not e[0].isalnum())])
