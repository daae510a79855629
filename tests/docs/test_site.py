"""The site: both languages are built without a warning, each page's links and pictures are there, Chinese is found."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from doc_pages import DOCS

from docs.generator.build import build
from docs.generator.chinese_search import terms
from docs.generator.stage import CHINESE, ENGLISH, contents, sources, staged


class Page(HTMLParser):
    """What a page of the site points at, and what it can be pointed at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.add(value)
            elif name == "id" and value:
                self.ids.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    assert build(DOCS, out) == 0, "Sphinx warns: see its output"
    return out


def test_every_page_is_there_in_both_languages(site: Path) -> None:
    for language in (ENGLISH, CHINESE):
        expected = {name.replace(".md", ".html") for name in sources(DOCS, language)} | {"search.html"}
        assert expected <= {path.name for path in (site / language.folder).glob("*.html")}
    assert 'lang="zh-CN"' in (site / "zh/index.html").read_text(encoding="utf-8")
    assert "本页内容" in (site / "zh/training.html").read_text(encoding="utf-8"), "the theme speaks Chinese"


def test_nothing_on_the_site_is_missing_or_comes_from_elsewhere(site: Path) -> None:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    missing, foreign = [], []
    for path, page in pages.items():
        for target in page.targets:
            place, _, anchor = unquote(target).partition("#")
            if place.startswith(("http://", "https://", "data:")):
                continue
            file = (path.parent / re.sub(r"\?.*", "", place)).resolve() if place else path
            if not file.exists() or (anchor and file in pages and anchor not in pages[file].ids):
                missing.append(f"{path.relative_to(site)}: {target}")
        text = path.read_text(encoding="utf-8")
        foreign += re.findall(r'<(?:script|img|link rel="stylesheet")[^>]+(?:src|href)="(https?:[^"]+)', text)
    assert missing == [] and foreign == []


def test_the_switch_leads_to_the_same_page(site: Path) -> None:
    for page in (site / "en").glob("*.html"):
        if page.name != "search.html":
            assert f'href="../zh/{page.name}">中文</a>' in page.read_text(encoding="utf-8"), page.name
            assert f'href="../en/{page.name}">English</a>' in (site / "zh" / page.name).read_text(encoding="utf-8")


def found(site: Path, query: str) -> set[str]:
    """The pages that hold every term of a query, by the index that the site's search reads."""
    text = (site / "zh/searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    names = []
    for term in terms(query):
        places = [index[part].get(term, []) for part in ("terms", "titleterms")]  # one page is a number, several a list
        numbers = [number for place in places for number in (place if isinstance(place, list) else [place])]
        names.append({index["docnames"][number] for number in numbers})
    return set.intersection(*names)


def test_chinese_phrases_are_found(site: Path) -> None:
    assert {"checkpoints", "training"} <= found(site, "损坏的检查点")
    assert found(site, "梯度范数") >= {"quick_start", "training"}
    assert "evaluation" in found(site, "HellaSwag")
    assert found(site, "紫色的大象") == set()


def test_text_is_cut_into_pairs() -> None:
    assert terms("检查点 step_400 到 GPU-0.") == ["检查", "查点", "step_400", "到", "gpu-0"]


def test_a_page_is_staged_with_the_links_of_the_site() -> None:
    page = (
        "[English](a.md)\n见[训练](training.zh-CN.md#一)、\n[b.zh-CN.md](b.zh-CN.md)和[配方](../recipes/x.yaml)。\n"
        "![图](images/a.png)\n\n```\n[c](d.zh-CN.md)\n```\n\n```\nmake demo\n```\n"
    )
    assert staged(page) == (
        "\n见[训练](training.md#一)、[](b.md)和配方 (`recipes/x.yaml`)。\n"
        "![图](images/a.png)\n\n```text\n[c](d.zh-CN.md)\n```\n\n```bash\nmake demo\n```\n"
    )


def test_the_side_bar_is_the_index() -> None:
    index = "# Title\n\n[x](x.md)\n\n## One\n\n- [A page](a.md): words, [b](b.md)\n\n## Two\n\nwords\n"
    assert contents(index) == "```{toctree}\n:hidden:\n:caption: One\n\nA page <a>\nb <b>\n```\n"
