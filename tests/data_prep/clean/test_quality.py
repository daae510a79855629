"""The rules of Gopher, C4 and FineWeb drop what they are for and keep prose, verse and manuals in both languages."""

import random

import numpy as np
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters.gopher_repetition_filter import find_duplicates
from hypothesis import given
from hypothesis import strategies as st
from made_texts import CHINESE, ENGLISH, make_document

from data_prep.clean.c4_quality import C4QualityFilter
from data_prep.clean.fineweb_quality import FineWebQualityFilter
from data_prep.clean.gopher_quality import GopherQualityFilter
from data_prep.clean.gopher_repetition import GopherRepetitionFilter, number_units, repeated_characters, top_ngram
from data_prep.clean.language_filter import LanguageFilter
from data_prep.clean.units import repeats
from megatron_recipe.errors import ConfigError

QUATRAIN = "靜夜思\n牀前看月光，疑是地上霜。\n舉頭望山月，低頭思故鄉。"
WITHOUT_MARKS = "春望\n國破山河在\n城春草木深\n感時花濺淚\n恨別鳥驚心\n烽火連三月\n家書抵萬金\n白頭搔更短\n渾欲不勝簪"
LYRIC = "如夢令\n昨夜雨疏風驟，濃睡不消殘酒。\n試問捲簾人，卻道海棠依舊。\n知否。知否。應是綠肥紅瘦。"
CLASSICAL = "學而時習之，不亦說乎？有朋自遠方來，不亦樂乎？人不知而不慍，不亦君子乎？其為人也孝弟，而好犯上者，鮮矣。"
MANUAL_ZH = """打印文档
要打印当前文档，请选择「文件 - 打印」，或者按快捷键 Ctrl+P。
在打印对话框中可以选择打印机、页面范围和份数。
如果只想打印其中的一部分内容，请先选中这些内容，然后再打开对话框，并在范围中选择「选中内容」。
打印机没有反应的时候，应当检查它是否已经接通电源，以及纸张是否用完。"""
MANUAL_EN = """Printing a document

To print the current document, choose File - Print, or press Ctrl+P.
The dialog lets you choose the printer, the range of pages and the number of copies.

    lpr -P office report.txt

If only a part should be printed, select it before you open the dialog, and choose Selection as the range.
When nothing comes out, check that the printer has power and that it is not out of paper. Some printers
need a minute to warm up after they have been switched on."""
STORY = ENGLISH + " In the end they agreed to meet again in spring, when the engineers would have new numbers for them."
GOOD = {
    "quatrain": QUATRAIN, "without marks": WITHOUT_MARKS, "lyric": LYRIC, "classical": CLASSICAL, "prose zh": CHINESE,
    "manual zh": MANUAL_ZH, "manual en": MANUAL_EN, "story": STORY,
}  # fmt: skip
FILTERS = {
    "quality": GopherQualityFilter(),
    "repetition": GopherRepetitionFilter(),
    "c4": C4QualityFilter(),
    "fineweb": FineWebQualityFilter(),
}


def verdict(name, text, **metadata):
    result = (FILTERS[name] if isinstance(name, str) else name).filter(Document(text=text, id="x", metadata=metadata))
    return True if result is True else result[1]


def words(count, seed=1):
    return " ".join(random.Random(seed).choices(make_document(seed, sentences=40).split(), k=count))


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("text", GOOD)
def test_good_text_is_kept(name, text):
    assert verdict(name, GOOD[text]) is True


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("quality", "Too short to say anything.", "gopher_short"),
        ("quality", "太短了，没有意思。", "gopher_short"),
        ("quality", "a b to of c d " * 20, "gopher_short_words"),
        ("quality", "the internationalisation of counterrevolutionaries, " * 20, "gopher_long_words"),
        ("quality", STORY + " 12 345 6789" * 20, "gopher_few_letters"),
        ("quality", CHINESE + "12，345，6789，" * 20, "gopher_few_letters"),
        ("quality", "Sofas, chairs, tables, lamps, garden furniture, kitchen tiles. " * 8, "gopher_stop_words"),
        ("quality", "桌椅沙发家具床垫衣柜书架台灯地毯窗帘茶几橱柜餐桌，" * 10, "gopher_stop_words"),
        ("quality", "变量 a b c d e " * 20, "gopher_few_han"),
        ("quality", STORY + " #tag" * 12, "gopher_symbols"),
        ("quality", CHINESE + "……" * 12, "gopher_symbols"),
        ("quality", "\n".join("- " + STORY[n : n + 60] for n in range(0, 240, 30)), "gopher_bullets"),
        ("quality", "\n".join("● " + CHINESE[n : n + 20] for n in range(0, 40, 4)), "gopher_bullets"),
        ("quality", "\n".join(STORY[n : n + 60] + "..." for n in range(0, 240, 30)), "gopher_ellipsis_lines"),
        ("quality", "the and " + "word " * 100_000, "gopher_long"),
        ("repetition", (STORY[:90] + "\n\n") * 3 + STORY, "gopher_repeated_paragraphs"),
        ("repetition", (CHINESE[:30] + "\n") * 3 + MANUAL_ZH, "gopher_repeated_lines"),
        ("repetition", ENGLISH + " buy shoes" * 12, "gopher_top_2_gram"),
        ("repetition", CHINESE + "买好鞋" * 20, "gopher_top_2_gram"),
        ("repetition", f"{words(30)} {STORY} {words(30)} {STORY}", "gopher_repeated_5_grams"),
        ("repetition", CHINESE + make_document(5, "zh", 4) + CHINESE, "gopher_repeated_5_grams"),
        ("c4", "One sentence. And two.", "c4_few_sentences"),
        ("c4", "关于我们\n联系方式\n网站地图\n加入收藏\n首页", "c4_few_sentences"),
        ("c4", STORY + " Lorem ipsum dolor sit amet.", "c4_lorem_ipsum"),
        ("c4", "function f() { return { a: 1 }; } // call it. Or not. Or so. {}", "c4_curly_brackets"),
        ("fineweb", "\n".join(f"Card number {n} of the whole long list" for n in range(20)), "fineweb_punctuation"),
        ("fineweb", "\n".join(f"第{n}号产品的名称以及详细规格型号" for n in range(20)), "fineweb_punctuation"),
        ("fineweb", "\n".join(f"Item {n}." for n in range(20)) + "\n" + STORY, "fineweb_short_lines"),
        ("fineweb", (STORY + "\n") * 2, "fineweb_repeated_lines"),
        ("fineweb", (MANUAL_ZH + "\n") * 2, "fineweb_repeated_lines"),
        ("fineweb", "\n".join(f"{n}internationalisations revolutionary." for n in range(20)), "fineweb_list"),
        ("fineweb", "项甲\n项乙\n项丙\n项丁\n项戊\n项己\n好了。\n是的。\n可以。\n没有。", "fineweb_list"),
        ("fineweb", "\n \n", "fineweb_empty"),
    ],
)  # fmt: skip
def test_each_rule_gives_its_reason(name, text, reason):
    assert verdict(name, text) == reason


def test_the_label_decides_about_the_language():
    text = "Hangzhou 字母表 " * 60
    assert verdict("quality", text, language="en") == "gopher_stop_words"
    assert verdict("quality", text, language="zh") is True


def test_c4_takes_out_menus_and_notices_but_no_heading_code_or_verse():
    menu = "Home\nAbout us\n\nShop\nContact\n"
    page = f"{menu}The report\n{STORY}\nWe use cookies on this site.\n\n    x = 1\n    y = 2\n\n{MANUAL_EN}"
    document = Document(text=page, id="x")
    block = C4QualityFilter()
    assert block.filter(document) is True
    assert document.text == f"The report\n{STORY}\n\n    x = 1\n    y = 2\n\n{MANUAL_EN}"
    assert block.stats.stats["lines_menu"].total == 4
    assert block.stats.stats["lines_policy"].total == 1
    for text in GOOD.values():
        document = Document(text=text, id="x")
        assert block.filter(document) is True
        assert document.text == text


def test_c4_in_chinese_and_its_other_settings():
    menu = "首页\n新闻中心\n产品\n联系我们\n"
    page = f"{menu}年度报告\n{CHINESE}[1]\n版权所有 违者必究\nbuffer[1] 保持不变，[编辑]因为它是代码。"
    document = Document(text=page, id="x")
    assert C4QualityFilter().filter(document) is True
    assert document.text == f"年度报告\n{CHINESE}\nbuffer[1] 保持不变，因为它是代码。"
    document = Document(text=f"A heading of several words\n{STORY}\n{'x' * 1001} and so on.\nTwo words", id="x")
    assert C4QualityFilter(min_menu_lines=1, require_terminal_punctuation=True).filter(document) is True
    assert document.text == STORY
    assert verdict(C4QualityFilter(max_curly_brackets=0), STORY + "{") == "c4_curly_brackets"


def test_languages_kept():
    block = LanguageFilter(("zh",), min_score=0.5)
    assert verdict(block, CHINESE, language="zh", language_score=1.0) is True
    assert verdict(block, CHINESE, language="zh", language_score=0.4) == "language_doubtful"
    assert verdict(block, ENGLISH, language="en", language_score=1.0) == "language_other"
    assert verdict(block, ENGLISH, language="unknown", language_score=0.2) == "language_doubtful"
    with pytest.raises(ConfigError, match="put `- language` before"):
        verdict(block, ENGLISH)


UNITS = st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), max_size=40)


@given(UNITS, st.integers(1, 6))
def test_repeated_characters_are_those_of_a_plain_search(units, size):
    seen, inside = set(), set()
    for start in range(len(units) - size + 1):
        ngram = tuple(units[start : start + size])
        if ngram in seen:
            inside |= set(range(start, start + size))
        seen.add(ngram)
    numbers, lengths = number_units(units)
    assert repeated_characters(numbers, lengths, size) == sum(len(units[i]) for i in inside)
    longer = repeated_characters(numbers, lengths, size + 1)
    assert longer <= repeated_characters(numbers, lengths, size)


@given(UNITS, st.integers(1, 4))
def test_the_most_frequent_ngram_is_that_of_a_plain_count(units, size):
    ngrams = [tuple(units[start : start + size]) for start in range(len(units) - size + 1)]
    numbers, lengths = number_units(units)
    most, characters = top_ngram(numbers, lengths, size)
    assert most == max(map(ngrams.count, ngrams), default=0)
    assert characters in {most * sum(map(len, ngram)) for ngram in ngrams if ngrams.count(ngram) == most} | {0}


@given(st.lists(st.sampled_from(["one", "two", "", "三"]), min_size=1))
def test_repeated_lines_are_counted_as_datatrove_does(lines):
    share, characters = repeats(lines)
    assert (round(share * len(lines)), characters) == find_duplicates(lines)


def test_numbers_of_units_do_not_depend_on_the_text_before():
    numbers, lengths = number_units(["a", "bb", "a"])
    assert numbers[0] == numbers[2] != numbers[1]
    assert np.array_equal(lengths, [1, 2, 1])
