"""A document on the disk: the page, and the Markdown beside it."""

from datetime import UTC, datetime
from pathlib import Path

from megatron_recipe.errors import ConfigError
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


def refuse_foreign_markdown(page: Path) -> None:
    """Raise ConfigError where the Markdown beside `page` is somebody's own: ours says at its end who wrote it."""
    path = markdown_path(page)
    if path.is_file() and b"megatron-recipe" not in path.read_bytes().rstrip().rpartition(b"\n")[2]:
        raise ConfigError(
            f"--out={page}: the same is written beside it as {path.name}, and a file of this name that is not ours is "
            "there; choose another name"
        )


def now() -> str:
    """The time that a document is written, ISO 8601."""
    return datetime.now(UTC).isoformat()
