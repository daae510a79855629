"""The quiz as a page and as Markdown, in which the user's own answers are kept."""

from pathlib import Path

from megatron_recipe import __version__
from megatron_recipe.month.quiz import PAGE, Question
from megatron_recipe.report.document import Author, Bullets, Document, Paragraph, Section, markdown_path
from megatron_recipe.report.document_files import now, write_document
from megatron_recipe.report.formats import when
from megatron_recipe.report.markdown import author_words


def write_quiz(questions: list[Question], page: Path, lang: str) -> Path:
    """Write the quiz as HTML to `page` and as Markdown beside it; returns the Markdown's path.

    Raises ConfigError for Markdown there that is no quiz.
    """
    markdown = markdown_path(page)
    words, own = PAGE[lang], author_words(markdown)
    sections = [
        Section(
            name=question.name,
            title=f"{number}. {question.question}",
            blocks=(
                Author(question.name, words["place"], own.get(question.name, "")),
                Bullets(question.points),
                Paragraph(words["origin"].format(file=question.found.file, evidence=question.evidence), "small"),
            ),
        )
        for number, question in enumerate(questions, start=1)
    ]
    asked = {question.name for question in questions}
    kept = tuple(Author(name, name, text) for name, text in own.items() if name not in asked)
    if kept:
        sections.append(Section("kept", words["place"], kept))
    document = Document(
        lang=lang,
        kind=words["kind"],
        title=words["title"],
        lede=words["lede"],
        sections=tuple(sections),
        footer=words["footer"].format(version=__version__, time=when(now())),
        page_file=page.name,
    )
    write_document(document, page)
    return markdown
