"""Each rule drops what it is for, with its reason, and keeps prose in English and Chinese."""

import base64
import random

import pytest
from datatrove.data import Document
from made_texts import CHINESE, ENGLISH

from data_prep.clean.length import LengthFilter
from data_prep.clean.repetition import RepetitionFilter, repeated_lines, repeated_passages
from data_prep.clean.symbols import SymbolFilter

FILTERS = {"length": LengthFilter(20), "symbols": SymbolFilter(), "repetition": RepetitionFilter()}
IDIOM = "画蛇添足（huà shé tiān zú）\n释义：画蛇时给蛇添上脚。比喻做了多余的事，非但无益，反而不合适。"
DOCSTRING = """numpy.linalg.norm(x, ord, axis)

Matrix or vector norm.

Parameters
----------
x : array_like
    Input array.  If `axis` is None, `x` must be 1-D or 2-D.

Examples
--------
>>> a = np.arange(9) - 4
>>> LA.norm(a)
7.745966692414834
"""


def verdict(name, text):
    result = FILTERS[name].filter(Document(text=text, id="x"))
    return True if result is True else result[1]


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("text", [ENGLISH, CHINESE, IDIOM, DOCSTRING, CHINESE * 2 + ENGLISH])
def test_prose_is_kept(name, text):
    assert verdict(name, text) is True


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("length", "", "empty"),
        ("length", " \n\t ", "empty"),
        ("length", "nineteen characters", "too_short"),
        ("length", "太短了", "too_short"),
        ("symbols", "\n".join(f"{i} {i * 7} 0.{i}" for i in range(50)), "many_digits"),
        ("symbols", "<div class='a'><p>text</p></div>" * 20, "markup"),
        ("symbols", "[![PyPI](https://img.shields.io/x.svg)](https://example.org/y)\n" * 5 + "A package.", "markup"),
        ("symbols", base64.b64encode(random.Random(1).randbytes(600)).decode(), "encoded"),
        ("symbols", ("+---+---+\n|   |   |\n" * 10) + "A table", "few_letters"),
        (
            "symbols",
            "\n".join(["a + b == c || !d && (e) ->> f"] * 3 + ["x <= y >= z != w ** v // u %% t"] * 3),
            "few_letters",
        ),
        ("repetition", ("The same line again.\n" * 30) + ENGLISH, "repeated_lines"),
        ("repetition", CHINESE * 5, "repeated_passages"),
        ("repetition", (CHINESE + "\n") * 5, "repeated_lines"),
        (
            "repetition",
            " ".join(f"Click here to read item {i % 7} of the long list now." for i in range(200)),
            "repeated_passages",
        ),
    ],
)
def test_each_rule_gives_its_reason(name, text, reason):
    assert verdict(name, text) == reason


def test_lines_of_symbols():
    symbols = SymbolFilter(min_letters=0.0)
    art = "/\\_/\\ <o.o> ~~~~\n" * 10 + "A cat drawn with the keyboard."
    assert symbols.filter(Document(text=art, id="x")) == (False, "symbol_lines")


def test_white_space_does_not_count_as_length():
    assert verdict("length", "n i n e t e e n characters") == "too_short"
    assert LengthFilter(1).filter(Document(text="一", id="x")) is True


def test_shares_are_what_they_say():
    assert repeated_lines("one\ntwo\none\none") == pytest.approx(6 / 12)
    assert repeated_passages("abcabc", 3) == pytest.approx(1 / 4)
    assert repeated_passages("", 3) == 0


def test_passages_are_the_same_by_set_and_by_array(monkeypatch):
    generator = random.Random(2)
    for length in (5, 30, 400):
        text = "".join(generator.choices("ab 中文", k=length))
        by_set = repeated_passages(text, 4)
        monkeypatch.setattr("data_prep.clean.repetition.ARRAY_FROM_RUNS", 0)
        assert repeated_passages(text, 4) == pytest.approx(by_set)
        monkeypatch.undo()
