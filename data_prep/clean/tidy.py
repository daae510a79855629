"""Puts text in order without changing what it says: encoding faults, control characters, white space."""

import re
import unicodedata

import ftfy
import ftfy.badness
from datatrove.pipeline.formatters.base import BaseFormatter

# C0 and C1 controls but for tab and newline, zero-width and direction marks that copies from web pages carry,
# byte order marks, and private-use characters, which no reader can know
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff\ue000-\uf8ff]")
_TERMINAL_ESCAPES = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
_MANY_NEWLINES = re.compile(r"\n{4,}")
# UTF-8 read as another encoding: the first byte of a character and the next are both beyond ASCII, and the first is no
# dash or quotation mark, neither East Asian. Looking for that first is forty times as fast as asking ftfy
_PERHAPS_FAULTY = re.compile("[\x80-\u2012\u201a\u201b\u201e-\u2025\u2027-\u2e7f][\x80-\u2e7f\ufb00-\uffff]|[ÂÃâ]")
_LINE_ENDS = re.compile("\r\n?|\u2028|\u2029|\x85|\x0c|\x0b")


class TidyText(BaseFormatter):
    """Mend text; no document is dropped here, but one may come out empty.

    Encoding faults are mended with ftfy (its explanation of "mojibake"), which is only asked where the text is not pure
    ASCII. Full-width Chinese punctuation stays: ftfy's width folding is off. Line ends become ``\\n``, invisible
    characters go, lines lose trailing spaces, and more than two empty lines in a row become two.
    """

    name = "🧹 Tidy text"

    def format(self, text: str) -> str:
        if not text.isascii():
            if _PERHAPS_FAULTY.search(text) and ftfy.badness.is_bad(text):
                text = ftfy.fix_encoding(text)
            text = unicodedata.normalize("NFC", text)
        text = _TERMINAL_ESCAPES.sub("", text)
        text = _LINE_ENDS.sub("\n", text)
        text = _INVISIBLE.sub("", text)
        text = "\n".join(map(str.rstrip, text.split("\n")))
        return _MANY_NEWLINES.sub("\n\n\n", text).strip("\n")
