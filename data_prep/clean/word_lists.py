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
        patterns: for lower-case text: what begins with a Latin letter or digit, with another character, and regular
            expressions that begin with neither. Apart, because a search skips at once to where a match can begin if the
            pattern shows it: at the edge of a word, or at one of a few Chinese characters.
    """

    name: str
    patterns: tuple[re.Pattern[str], ...]

    def matches(self, lowered: str) -> tuple[int, int]:
        """Matches in a lower-case text, and the characters inside them; those of one pattern do not overlap."""
        found = [match for pattern in self.patterns for match in pattern.findall(lowered)]
        return len(found), sum(map(len, found))


def read_list(source: str | Path) -> WordList:
    """Read a list by its path, or by the name of one that comes with the project.

    The file has one entry a line: a word or phrase, or ``/a regular expression/``, which is matched against lower-case
    text and may have no groups but ``(?:…)``. ``#`` at the start of a line, or after white space, begins a comment.
    Matching ignores case. White space in a phrase matches any. An entry that begins with a Latin letter or digit
    matches only where a Latin word begins, and a phrase that ends with one only where the word ends: ``casino`` is not
    in ``casinos``. A regular expression that begins with such a character, or a Chinese one, is found faster.

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
    return WordList(path.stem, _patterns(entries))


def shipped_lists() -> list[str]:
    """Names of the lists that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def _entries(path: Path, lines: list[str]) -> Iterator[str]:
    """Each entry as a regular expression without groups."""
    for number, line in enumerate(lines, 1):
        entry = re.sub(r"(?:^|\s+)#.*", "", line.removeprefix("\ufeff")).strip()
        if len(entry) > 2 and entry.startswith("/") and entry.endswith("/"):
            yield _checked(f"{path}:{number}", entry[1:-1])
        elif entry:
            phrase = r"\s+".join(map(re.escape, entry.lower().split()))
            yield phrase + ("(?![a-z0-9_])" if entry[-1].isascii() and entry[-1].isalnum() else "")


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


def _patterns(entries: list[str]) -> tuple[re.Pattern[str], ...]:
    """Longer entries first, so that they are found whole; grouped by first character, since `re` tries one by one."""
    free = [entry for entry in entries if not _begins_plainly(entry)]
    plain = sorted(set(entries) - set(free), key=lambda entry: (entry[0], -len(entry), entry))
    groups = {first: list(group) for first, group in itertools.groupby(plain, key=lambda entry: entry[0])}
    latin = "|".join(_branch(first, group) for first, group in groups.items() if first.isascii())
    other = "|".join(_branch(first, group) for first, group in groups.items() if not first.isascii())
    return tuple(re.compile(one) for one in (latin and rf"(?a:\b)(?:{latin})", other, "|".join(free)) if one)


def _begins_plainly(entry: str) -> bool:
    """One letter or digit stands first, and stands alone."""
    return entry[0].isalnum() and entry[1:2] not in {"*", "+", "?", "{"} and "|" not in re.sub(r"\(\?:.*?\)", "", entry)


def _branch(first: str, entries: list[str]) -> str:
    return f"{first}(?:{'|'.join(entry[1:] for entry in entries)})"
