"""A document as one HTML file, in the look of the run's report."""

from megatron_recipe import __version__
from megatron_recipe.report.document import Document
from megatron_recipe.report.formats import visible
from megatron_recipe.report.page_environment import page_environment
from megatron_recipe.report.strings import strings_for


def render_document(document: Document) -> str:
    """The whole document as HTML that needs no other file."""
    environment = page_environment("megatron_recipe")
    environment.filters.update(visible=visible)
    environment.globals.update(t=strings_for(document.lang), kind_of=lambda block: type(block).__name__)
    return environment.get_template("document.html").render(document=document, version=__version__)
