"""The quality signals of one text: the same measures as the cleaning blocks drop by."""

import functools
import re

from data_prep.clean.gopher_quality import CLASSICAL_STOP_CHARACTERS, STOP_CHARACTERS, STOP_WORDS
from data_prep.clean.repetition import repeated_lines, repeated_passages
from data_prep.clean.symbols import letters_and_digits
from data_prep.clean.units import CHINESE_ENDS, HAN, LATIN_ENDS, lines_of

PASSAGE_CHARACTERS = 24
"""As in the block `repetition`."""
_HAN = re.compile(rf"[{HAN}]")
_STOP_HAN = re.compile(f"[{''.join(sorted(STOP_CHARACTERS | CLASSICAL_STOP_CHARACTERS))}]")
_WORD = re.compile(r"[a-z]+")

SHARES = (
    "letters",
    "digits",
    "symbols",
    "han",
    "function_words",
    "punctuated_lines",
    "repeated_lines",
    "repeated_passages",
)
SIGNALS = (*SHARES, "mean_line")
"""All but the last are shares of one; `mean_line` is in characters."""


def signals(text: str, language: str) -> dict[str, float]:
    """The signals by the names in SIGNALS.

    `letters`, `digits`, `symbols`: of the characters that are not white space. `han`: Chinese characters, of the
    letters. `function_words`: Gopher's stop words of the Latin words, or for Chinese frequent function characters of
    the Chinese characters. `punctuated_lines`: lines that end in punctuation. `mean_line`: characters of a line that
    is not empty.
    """
    characters = max(sum(map(len, text.split())), 1)
    letters, digits = letters_and_digits(text)
    han = len(_HAN.findall(text))
    lines = lines_of(text)
    ends = CHINESE_ENDS if language == "zh" else LATIN_ENDS
    return {
        "letters": letters / characters,
        "digits": digits / characters,
        "symbols": max(characters - letters - digits, 0) / characters if text.strip() else 0.0,
        "han": han / max(letters, 1),
        "function_words": len(_STOP_HAN.findall(text)) / max(han, 1) if language == "zh" else _stop_words(text),
        "punctuated_lines": sum(line.endswith(ends) for line in lines) / max(len(lines), 1),
        "repeated_lines": repeated_lines(text) if lines else 0.0,
        "repeated_passages": repeated_passages(text, PASSAGE_CHARACTERS),
        "mean_line": sum(map(len, lines)) / max(len(lines), 1),
    }


def _stop_words(text: str) -> float:
    words = _WORD.findall(text.lower())
    return sum(map(STOP_WORDS.__contains__, words)) / max(len(words), 1)


@functools.cache
def length_edges() -> tuple[int, ...]:
    """Ends of the bins of a length in characters: 0, 1, 2, 5, 10, 20, 50 … 100 million; a bin holds its lower end."""
    return (0, *(step * 10**power for power in range(8) for step in (1, 2, 5)), 10**8)
