"""Search in Chinese, without a dictionary: texts and questions are cut into pairs of neighbouring characters.

Sphinx's own Chinese search needs jieba, and takes what one types as a single word, so that a phrase is found only
where the dictionary has it. With pairs any phrase of two characters or more is found, wherever it stands. Words in
Latin letters are taken whole, in lower case.
"""

import re

from sphinx.search import SearchLanguage

RUN = re.compile(r"[㐀-鿿]+|[A-Za-z0-9_.-]*[A-Za-z0-9_]")


def terms(text: str) -> list[str]:
    """The pairs and words of a text; a Chinese character that stands alone is a term itself."""
    found: list[str] = []
    for run in RUN.findall(text):
        if run[0] >= "㐀":
            found += [run[at : at + 2] for at in range(max(1, len(run) - 1))]
        else:
            found.append(run.lower())
    return found


class ChinesePairs(SearchLanguage):
    """What Sphinx asks of a language: `split` for the index, the same in JavaScript for what one types."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = r"""
var splitQuery = (query) => (query.match(/[\u3400-\u9fff]+|[A-Za-z0-9_.-]*[A-Za-z0-9_]/g) || []).flatMap((run) =>
  run[0] < "\u3400" || run.length < 2
    ? [run]
    : Array.from({ length: run.length - 1 }, (_, at) => run.slice(at, at + 2)));
"""

    def split(self, input: str) -> list[str]:
        """The terms of a text."""
        return terms(input)
