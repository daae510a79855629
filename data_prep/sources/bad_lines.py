"""Lines that hold no record: the reader passes them on as empty documents, and they are dropped and counted here."""

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

FIELD = "bad_line"
"""Metadata of such a document: where the line is and what is wrong with it."""
REASON = "bad_line"


class BadLineFilter(BaseFilter):
    """Drop the documents that stand for lines without a valid record (`bad_line`)."""

    name = "🧨 Bad lines"

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        return (False, REASON) if FIELD in doc.metadata else True
