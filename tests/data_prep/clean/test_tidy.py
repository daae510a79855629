"""Tidying mends faults and changes nothing else."""

import pytest

from data_prep.clean.tidy import TidyText

TIDY = TidyText()


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("tail  \t\n  head", "tail\n  head"),
        ("a\n\n\n\n\n\nb", "a\n\n\nb"),
        ("\n\n  indented first line\n", "  indented first line"),
        ("zero\u200bwidth\ufeff \x07bell \x1b[31mred\x1b[0m", "zerowidth bell red"),
        ("cafÃ© â€œquotedâ€\x9d", "café “quoted”"),
        ("e\u0301", "é"),
    ],
)
def test_faults_are_mended(text, tidied):
    assert TIDY.format(text) == tidied


@pytest.mark.parametrize(
    "text",
    [
        "全角标点，。！？：；（）《》“”——……",
        "  def f(x):\n\treturn x  # tab kept",
        "&lt;tag&gt; &amp; entities in documentation",
        "Å Ø ﬁ ① ２ 가 👩‍👩‍👧",
        "a\n\nb\n\n\nc",
        "",
    ],
)
def test_text_in_order_stays_as_it_is(text):
    assert TIDY.format(text) == text


def test_tidying_twice_is_tidying_once():
    text = "Ã© \r\n\n\n\n\n x \u200b\n"
    assert TIDY.format(TIDY.format(text)) == TIDY.format(text)
