"""Every block can be named in a recipe; wrong names and settings are explained; the default orders build and run."""

import pickle
import re
import subprocess
import sys

import pytest
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from hypothesis import given, settings
from hypothesis import strategies as st
from made_texts import CHINESE, ENGLISH

from data_prep.clean.catalog import CLEANERS, DEFAULT_CLEANERS, DOCUMENT_CLEANERS, build_cleaners, cleaner_class
from data_prep.recipe import load_recipe
from megatron_recipe.errors import ConfigError

NEEDED: dict[str, dict] = {"length": {"min_characters": 20}, "lists": {"lists": ["adverts"]}}

BLOCKS = {name: build_cleaners([{name: NEEDED.get(name, {})}])[0] for name in CLEANERS}
FILTERS = {name: block for name, block in BLOCKS.items() if hasattr(block, "filter") and name != "lists"}


@pytest.mark.parametrize("name", CLEANERS)
def test_every_block_builds_and_can_be_sent_to_a_process(name):
    (block,) = build_cleaners([{name: NEEDED.get(name, {})}])
    assert isinstance(block, PipelineStep)
    assert type(block) is cleaner_class(name)
    again = pickle.loads(pickle.dumps(block))
    document = Document(text=ENGLISH, id="x", metadata={"language": "en", "language_score": 0.9})
    assert len(list(again.run(iter([document])))) in (0, 1)


def test_the_two_default_orders_build():
    for entries in (DEFAULT_CLEANERS, DOCUMENT_CLEANERS):
        assert [type(block) for block in build_cleaners(entries)] == [cleaner_class(n) for e in entries for n in e]


@pytest.mark.parametrize(("recipe", "order"), [("documents", DOCUMENT_CLEANERS), ("web", DEFAULT_CLEANERS)])
def test_the_recipes_have_the_default_orders(recipe, order):
    assert list(load_recipe(recipe).clean) == order


def test_the_default_order_keeps_prose_and_drops_adverts():
    texts = {
        "en": ENGLISH + " In the end they agreed to meet again in spring, when the engineers would have new numbers.",
        "zh": "去年，" + CHINESE + "他们在会上说，这个问题还要再看一看，不能马上就定下来。",
        "advert": "厂家直销，全场包邮！加微信领取优惠券，立即购买，货到付款，欢迎选购，数量有限。" * 2,
        "de": "Der Ausschuss besprach den Bericht vor dem Mittagessen und fragte nach dem Geld.",
    }
    stream = iter([Document(text=text, id=name) for name, text in texts.items()])
    for block in build_cleaners(DEFAULT_CLEANERS):
        stream = block.run(stream)
    assert [document.id for document in stream] == ["en", "zh"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"gopher_qualty": {}}, "did you mean 'gopher_quality'"),
        ({"nothing_like_it": {}}, "known: tidy, length"),
        ({"symbols": {"max_digit": 0.2}}, "did you mean 'max_digits'"),
        ({"gopher_quality": {"min_words": "many"}}, "min_words='many'"),
        ({"gopher_quality": {"max_bullet_lines": 1.5}}, "max_bullet_lines=1.5"),
        ({"language_filter": {"keep": "en"}}, "keep='en'"),
        ({"language_filter": {"keep": []}}, "keep="),
        ({"lists": {}}, "lists is missing"),
        ({"lists": {"lists": ["no/such/file.txt"]}}, "adverts, junk, sensitive"),
        ({"pii": {"replacements": {"emial": "x"}}}, "did you mean 'email'"),
        ({"pii": {"replacements": {"email": "me@mail.cn"}}}, "would be masked itself"),
    ],
)
def test_mistakes_are_explained(entry, message):
    with pytest.raises(ConfigError) as error:
        build_cleaners([entry])
    assert message in str(error.value)
    assert "clean" in str(error.value) or "list" in str(error.value)


GLYPHS = [
    "the ",
    "of ",
    "是",
    "的",
    "山",
    "，",
    "。",
    ".",
    " ",
    "\n",
    "\n\n",
    "- ",
    "…",
    "#",
    "{",
    "[1]",
    "12 ",
    "\x00",
    "😀",
    "İ",
]
PHRASES = [
    "word ",
    "加微信",
    "buy now ",
    "404 not found ",
    "casino ",
    "lorem ipsum ",
    "x" * 70,
    "同一行文字\n" * 9,
    "a b\n" * 20,
]
PIECES = st.sampled_from([*GLYPHS, *PHRASES])


@settings(deadline=None)
@given(st.lists(PIECES, max_size=60).map("".join), st.sampled_from([None, "en", "zh", "unknown"]))
def test_any_text_gets_a_verdict_and_only_documented_reasons(text, language):
    metadata = {"language": language, "language_score": 0.5} if language else {}
    for name, block in FILTERS.items():
        if language or name != "language_filter":
            verdict = block.filter(Document(text=text, id="x", metadata=dict(metadata)))
            reason = "" if verdict is True else re.sub(r"_\d+_", "_N_", verdict[1])
            assert verdict is True or f"`{reason}`" in type(block).__doc__, (name, reason)


def test_the_catalog_imports_no_datatrove():
    code = "import sys, data_prep.clean.catalog; print('datatrove' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
