"""Tables made from code that stand between two marks of hand-written pages, one page a language."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe.errors import DataError
from megatron_recipe.files import atomic_file

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclass(frozen=True)
class TablesInPages:
    """One table in each language."""

    files: dict[str, str]
    """Language → name of the page."""
    table: Callable[[str], str]
    """Makes a language's table, as Markdown."""

    def put(self, text: str, lang: str) -> str:
        """A page with the table between its marks. Raises DataError for a page without them."""
        before, begin, rest = text.partition(BEGIN)
        _old, end, after = rest.partition(END)
        if not (begin and end):
            raise DataError(f"{self.files[lang]} lacks the marks {BEGIN} and {END}; put them where the table is to be")
        return f"{before}{BEGIN}\n{self.table(lang)}\n{END}{after}"

    def write(self, folder: Path) -> list[Path]:
        """Bring all pages in `folder` up to date and return their paths."""
        written = []
        for lang, name in self.files.items():
            path = folder / name
            text = self.put(path.read_text(encoding="utf-8"), lang)
            with atomic_file(path) as file:
                file.write(text)
            written.append(path)
        return written
