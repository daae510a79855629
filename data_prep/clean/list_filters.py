"""Drop documents that are made of what a list names: adverts, junk pages, pornography, gambling, a user's own."""

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from data_prep.clean.units import Count, Share
from data_prep.clean.word_lists import read_list


class ListFilter(BaseFilter):
    """Drop documents that a list matches often and in a good part of their text; the reason is the list's name.

    Both are asked, so that one mention does not drop a short text, nor many mentions a book. word_lists.py says how a
    list is written; those that come with the project are data_prep/clean/lists/*.txt.

    Args:
        lists: paths of lists, or names of those that come with the project. Each is judged alone, in this order.
        min_matches: matches of a list that a document must have to be dropped.
        max_share: greatest share of the characters inside matches.

    Raises:
        ConfigError: a list that cannot be read, or has a wrong entry.
    """

    name = "📃 Word lists"

    def __init__(self, lists: tuple[str, ...], min_matches: Count = 2, max_share: Share = 0.02) -> None:
        super().__init__()
        self.lists = tuple(read_list(source) for source in lists)
        self.min_matches = min_matches
        self.max_share = max_share

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        lowered = doc.text.lower()
        for one in self.lists:
            matches, characters = one.matches(lowered)
            if matches and matches >= self.min_matches and characters > self.max_share * len(lowered):
                return False, one.name
        return True


class AdvertFilter(ListFilter):
    """Drop adverts (`adverts`): see ListFilter. `lists` replaces the list that comes with the project."""

    name = "📣 Adverts"

    def __init__(self, lists: tuple[str, ...] = ("adverts",), min_matches: Count = 2, max_share: Share = 0.03) -> None:
        super().__init__(lists, min_matches, max_share)


class JunkFilter(ListFilter):
    """Drop pages of errors, notices and navigation (`junk`): see ListFilter."""

    name = "🗑 Junk"

    def __init__(self, lists: tuple[str, ...] = ("junk",), min_matches: Count = 2, max_share: Share = 0.05) -> None:
        super().__init__(lists, min_matches, max_share)


class SensitiveFilter(ListFilter):
    """Drop pornography and gambling (`sensitive`): see ListFilter."""

    name = "🔞 Sensitive"

    def __init__(
        self, lists: tuple[str, ...] = ("sensitive",), min_matches: Count = 3, max_share: Share = 0.01
    ) -> None:
        super().__init__(lists, min_matches, max_share)
