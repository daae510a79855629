"""Every message that the FAQ quotes is one that the program says, word for word, in both languages of the page."""

import re
from pathlib import Path

import faq_of_runs  # noqa: F401  each registers its messages
import faq_of_settings  # noqa: F401
import faq_of_setup  # noqa: F401
import pytest
from doc_pages import DOCS, text_of
from faq_scene import SAID, Scene

QUOTE = re.compile(r"<!-- said: (\S+) -->\n```text\n(.*?)```", re.DOTALL)
PAGES = {"en": DOCS / "faq.md", "zh": DOCS / "faq.zh-CN.md"}
BOTH = pytest.mark.parametrize("lang", PAGES)
LEFT_OUT = "…"


def quotes(lang: str) -> dict[str, str]:
    """The quoted messages of a page by their names."""
    found = QUOTE.findall(text_of(PAGES[lang]))
    assert len(found) == len({name for name, _ in found}), "a name stands twice"
    return dict(found)


def is_quoted(said: str, quote: str) -> bool:
    """Whether a message is the quoted one; lines are broken for the page, and `…` stands for anything."""
    parts = (" ".join(part.split()) for part in quote.split(LEFT_OUT))
    pattern = ".*".join(re.escape(part) for part in parts).replace(r"\ .*\ ", r"\ .*\ ")
    return re.fullmatch(pattern.replace(".*", r"\s?.*?\s?"), " ".join(said.split())) is not None


@BOTH
def test_each_quote_is_of_a_message_that_a_test_makes_the_program_say(lang: str) -> None:
    assert list(quotes(lang)) == list(quotes("en"))
    assert set(quotes(lang)) == set(SAID)
    assert text_of(PAGES[lang]).count("```text") == len(SAID), "a block without its mark"


@pytest.mark.parametrize("name", SAID)
def test_the_program_says_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    english, chinese = (quotes(lang).get(name, "") for lang in ("en", "zh"))
    langs = {"en": english} if english == chinese else {"en": english, "zh": chinese}
    for lang, quote in langs.items():
        monkeypatch.chdir(tmp_path)
        said = SAID[name](Scene(monkeypatch, capsys, lang))
        assert is_quoted(said, quote), f"{lang}: the program says\n{said}\nand the page\n{quote}"


def test_a_changed_message_is_noticed() -> None:
    assert is_quoted("a: full (12 MB\nfree); try", "a: full (… MB free);\ntry\n")
    assert is_quoted("known: a, b, c; take one", "known: a, …; take one")
    assert not is_quoted("known: a, b, c; take two", "known: a, …; take one")
    assert not is_quoted("a: full (12 MB free); try again", "a: full (… MB free); try")
    assert not is_quoted("a: ful1", "a: full")
