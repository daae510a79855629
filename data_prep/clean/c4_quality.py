"""C4's rules: lines that are menus, notices and code go; pages of too few sentences go whole."""

import re

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from data_prep.clean.units import (
    CHINESE_ENDS,
    CHINESE_UNIT,
    HAN_PER_WORD,
    LATIN_ENDS,
    Count,
    Share,
    is_chinese_document,
)

MAX_WORD_CHARACTERS = 1000
"""A word beyond it is data, not text (C4's own code). Chinese lines, which have no spaces, are not held to it."""
POLICY = re.compile(
    "terms of use|privacy policy|cookie policy|uses? (?:of )?cookies|use of cookies|enable javascript"
    "|隐私政策|隱私政策|隐私条款|用户协议|使用条款|服务条款|服務條款"
    "|使用[ ]?cookies?|启用[ ]?javascript|版权所有|版權所有"
)
MAX_SHORT_CHARACTERS = 60
"""Of a line that can be an entry of a menu."""
MAX_POLICY_CHARACTERS = 300
"""A notice is short; a paragraph that speaks of privacy policies is text."""
ALLOWED_BRACKETS = 4
"""Two pairs are no code whatever the length: editors of classical poems put lost characters in brackets."""
# after punctuation or a Chinese character: buffer[1] is code
_CITATION = re.compile(
    r"\[(?:(?<=[.,;:!?\"”’)。，；：！？）\u4e00-\u9fff]\[)\d{1,3}|edit|citation needed|编辑|編輯|来源请求|來源請求)\]"
)
_CODE = re.compile(r"[(){}\[\]=;<>#$\\_]")
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)]*(?=\s|$)")
_CLAUSE_END = re.compile(r"[。！？；，]|[.!?;,](?=\s|$)")


class C4QualityFilter(BaseFilter):
    """Take out lines and drop documents by the rules of C4 (Raffel et al. 2019, arXiv 1910.10683, section 2.2).

    Differences, each for text that C4's rules harm: lines keep their indentation and empty lines stay, so that code and
    paragraphs survive; short lines go only in runs, so that headings and code stay and a menu goes; FineWeb (arXiv
    2406.17557, section 3.3) found the rule about punctuation at line ends to cost 30 % of the tokens, so it is off.

    Lines taken out are counted as `lines_menu`, `lines_policy`, `lines_long_word`, `lines_no_punctuation`. A document
    with "lorem ipsum" goes whole (`c4_lorem_ipsum`).

    Args:
        min_words_per_line: words below which a line without punctuation at its end is short (5 in the paper, 3 in
            datatrove); 1.6 Chinese characters are a word. 0 keeps all.
        min_menu_lines: short lines in a row that are taken out; 1 takes out each, as C4 does.
        require_terminal_punctuation: take out every line without punctuation at its end, as C4 does.
        min_sentences: least sentences of an English document that is left (`c4_few_sentences`; 3 in the paper, 5 in
            datatrove).
        min_chinese_clauses: least clauses of a Chinese one: its sentences join with commas what are several in English,
            and a poem of four lines has four.
        max_curly_brackets: greatest share of characters that are curly brackets (`c4_curly_brackets`); C4 allows none.
    """

    name = "⛰ C4 quality"

    def __init__(
        self,
        min_words_per_line: Count = 3,
        min_menu_lines: Count = 4,
        require_terminal_punctuation: bool = False,
        min_sentences: Count = 3,
        min_chinese_clauses: Count = 3,
        max_curly_brackets: Share = 0.01,
    ) -> None:
        super().__init__()
        self.min_words_per_line = min_words_per_line
        self.min_menu_lines = max(min_menu_lines, 1)
        self.require_terminal_punctuation = require_terminal_punctuation
        self.min_sentences = min_sentences
        self.min_chinese_clauses = min_chinese_clauses
        self.max_curly_brackets = max_curly_brackets

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        text = doc.text
        lowered = text.lower()
        if "lorem ipsum" in lowered:
            return False, "c4_lorem_ipsum"
        brackets = text.count("{") + text.count("}")
        if brackets > max(self.max_curly_brackets * len(text), ALLOWED_BRACKETS * (self.max_curly_brackets > 0)):
            return False, "c4_curly_brackets"
        chinese = is_chinese_document(doc)
        kept = self._kept_lines(text, chinese, POLICY.search(lowered) is not None)
        ends, least = (_CLAUSE_END, self.min_chinese_clauses) if chinese else (_SENTENCE_END, self.min_sentences)
        kept_text = "\n".join(kept).strip("\n")
        if len(ends.findall(kept_text)) + (_unpunctuated(kept) if chinese else 0) < least:
            return False, "c4_few_sentences"
        doc.text = kept_text
        return True

    def _kept_lines(self, text: str, chinese: bool, has_policy: bool) -> list[str]:
        """The lines that are left, as they were but for citation marks."""
        kept: list[str] = []
        menu: list[str] = []  # short lines in a row, with the empty ones between them
        short = 0
        if "[" in text:
            text = _CITATION.sub("", text)
        may_have_faults = has_policy or self.require_terminal_punctuation or len(text) > MAX_WORD_CHARACTERS
        for line in text.split("\n"):
            if not line or line.isspace():
                (menu if menu else kept).append(line)
            elif len(line) <= MAX_SHORT_CHARACTERS and self._is_short(line, chinese):
                menu.append(line)
                short += 1
            else:
                if menu:
                    kept += self._headings(menu, short)
                    menu, short = [], 0
                if may_have_faults and (reason := self._fault(line, chinese, has_policy)):
                    self.stat_update(reason)
                else:
                    kept.append(line)
        return kept + self._headings(menu, short)

    def _headings(self, lines: list[str], short: int) -> list[str]:
        """Short lines before text: all if they are few, or else the last, which is the heading of what follows."""
        if short < self.min_menu_lines:
            return lines
        stays = max(number for number, line in enumerate(lines) if line.strip())
        if self.min_menu_lines == 1:
            stays = len(lines)
        self.stat_update("lines_menu", value=short - (stays < len(lines)))
        return lines[stays:]

    def _is_short(self, line: str, chinese: bool) -> bool:
        """Fewer words than asked; no punctuation at the end, as in verse and speech; no indent or sign of code."""
        words = len(CHINESE_UNIT.findall(line)) / HAN_PER_WORD if chinese else len(line.split())
        if words >= self.min_words_per_line or line.rstrip().endswith(CHINESE_ENDS if chinese else LATIN_ENDS):
            return False
        return not (line[0].isspace() or _CODE.search(line))

    def _fault(self, line: str, chinese: bool, has_policy: bool) -> str | None:
        if has_policy and len(line) <= MAX_POLICY_CHARACTERS and POLICY.search(line.lower()):
            return "lines_policy"
        if not chinese and len(line) > MAX_WORD_CHARACTERS and max(map(len, line.split())) > MAX_WORD_CHARACTERS:
            return "lines_long_word"
        if self.require_terminal_punctuation and not line.rstrip().endswith(CHINESE_ENDS if chinese else LATIN_ENDS):
            return "lines_no_punctuation"
        return None


def _unpunctuated(lines: list[str]) -> int:
    """Lines that end without punctuation: in verse without marks each is a clause."""
    return sum(not stripped.endswith(CHINESE_ENDS) for line in lines if (stripped := line.strip()))
