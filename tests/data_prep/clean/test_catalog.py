"""Every block can be named in a recipe; wrong names and settings are explained; the default orders build and run."""

import pickle
import subprocess
import sys

import pytest
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from made_texts import CHINESE, ENGLISH

from data_prep.clean.catalog import CLEANERS, DEFAULT_CLEANERS, DOCUMENT_CLEANERS, build_cleaners, cleaner_class
from data_prep.recipe import load_recipe
from megatron_recipe.errors import ConfigError

NEEDED = {"length": {"min_characters": 20}, "lists": {"lists": ["adverts"]}}


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


def test_the_recipe_of_documents_is_the_order_of_documents():
    assert list(load_recipe("documents").clean) == DOCUMENT_CLEANERS


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


def test_the_catalog_imports_no_datatrove():
    code = "import sys, data_prep.clean.catalog; print('datatrove' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
