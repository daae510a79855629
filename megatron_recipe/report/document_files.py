"""A document on the disk: the page, and the Markdown beside it."""

from datetime import UTC, datetime
from pathlib import Path

from megatron_recipe.files import atomic_file
from megatron_recipe.report.document import Document, markdown_path
from megatron_recipe.report.document_page import render_document
from megatron_recipe.report.markdown import render_markdown


def write_document(document: Document, page: Path) -> None:
    """Write `document` as HTML to `page`, and as Markdown beside it. Both are set before either is written."""
    texts = {markdown_path(page): render_markdown(document), page: render_document(document)}
    for path, text in texts.items():
        with atomic_file(path) as file:
            file.write(text)


def now() -> str:
    """The time that a document is written, ISO 8601."""
    return datetime.now(UTC).isoformat()
