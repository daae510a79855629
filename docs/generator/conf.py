"""Sphinx's configuration, for either language; docs/generator/build.py sets which."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from babel.messages import mofile
from babel.messages.catalog import Catalog
from sphinx.application import Sphinx

from docs.generator.chinese_search import ChinesePairs

project = "megatron-recipe"
extensions = ["myst_parser"]
root_doc = "index"
highlight_language = "text"

myst_heading_anchors = 4  # the anchors that GitHub gives, checked at each build
suppress_warnings = ["myst.header"]

html_theme = "furo"
html_title = "megatron-recipe"
html_static_path = ["static"]
html_css_files = ["site.css"]
templates_path = ["templates"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
html_theme_options: dict[str, Any] = {"top_of_page_buttons": []}
html_context = {"switch_folder": "zh", "switch_name": "中文"}

# Words of the theme that Sphinx's own catalogue lacks.
THEME_WORDS = {
    "On this page": "本页内容",
    "Back to top": "回到顶部",
    "Skip to content": "跳到正文",
    "Home": "首页",
    "Next": "下一页",
    "Previous": "上一页",
    "Made with ": "主题：",
}


def theme_words(folder: Path) -> None:
    """Write the theme's words as the catalogue that gettext looks for in `folder`."""
    catalog = Catalog(locale="zh_CN")
    for english, chinese in THEME_WORDS.items():
        catalog.add(english, chinese)
    place = folder / "zh_CN" / "LC_MESSAGES"
    place.mkdir(parents=True)
    with (place / "sphinx.mo").open("wb") as file:
        mofile.write_mo(file, catalog)


def setup(app: Sphinx) -> dict[str, Any]:
    """What differs for Chinese: the search, and the words of the theme."""
    app.add_search_language(ChinesePairs)
    if app.config.language == "zh_CN":
        folder = Path(mkdtemp())
        theme_words(folder)
        app.add_message_catalog("sphinx", str(folder))
    return {"parallel_read_safe": True}
