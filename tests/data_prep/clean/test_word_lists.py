"""Lists are read as documented, their mistakes are named, and they drop what is made of them, not what mentions one."""

import pytest
from datatrove.data import Document
from hypothesis import given
from hypothesis import strategies as st
from made_texts import CHINESE, ENGLISH

from data_prep.clean.list_filters import AdvertFilter, JunkFilter, ListFilter, SensitiveFilter
from data_prep.clean.word_lists import read_list, shipped_lists
from megatron_recipe.errors import ConfigError


def verdict(block, text):
    result = block.filter(Document(text=text, id="x"))
    return True if result is True else result[1]


@pytest.mark.parametrize(
    ("block", "text", "reason"),
    [
        (AdvertFilter(), "厂家直销，全场包邮！加微信 abc12345 领取优惠券，点击购买。", "adverts"),
        (AdvertFilter(), "专业代开发票，加 V信：fp88888，联系客服，秒到账", "adverts"),
        (
            AdvertFilter(),
            "Best prices! Free shipping. CLICK HERE TO\nBUY now, 50% off today only.",
            "adverts",
        ),
        (JunkFilter(), "404 Not Found\nThe page you are looking for does not exist.", "junk"),
        (JunkFilter(), "您访问的页面不存在，请检查网址。返回首页 | 网站地图", "junk"),
        (JunkFilter(), "We use cookies. Accept all cookies, or manage cookies. Skip to content.", "junk"),
        (JunkFilter(), "Please enable JavaScript. Checking your browser before you go on.", "junk"),
        (SensitiveFilter(), "澳门新葡京真人娱乐，百家乐、老虎机，注册送彩金。", "sensitive"),
        (SensitiveFilter(), "Best online casino: free spins, welcome bonus and slot machines.", "sensitive"),
    ],
)
def test_pages_made_of_a_list_are_dropped(block, text, reason):
    assert verdict(block, text) == reason


@pytest.mark.parametrize("block", [AdvertFilter(), JunkFilter(), SensitiveFilter()])
@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        CHINESE,
        "城里新开了一家赌场，居民们议论纷纷。" + CHINESE,
        "有人在群里让大家加微信，还有人说点击购买就包邮，老王都没有理会。" + CHINESE * 6,
        "The server answers 404 Not Found when a page is not found in the index. " + ENGLISH * 2,
        "Scripts need a browser; enable JavaScript in its settings. " + ENGLISH,
        "He lost his savings at a casino in 1931 and wrote a novel about it. " + ENGLISH,
        "",
    ],
)
def test_a_mention_drops_nothing(block, text):
    assert verdict(block, text) is True


def test_a_user_list_gives_its_name_as_reason(tmp_path):
    path = tmp_path / "my_words.txt"
    path.write_text("# comment\n\nFoo  Bar # why\n苹果\n/ba[rz]\\d+/\n", encoding="utf-8")
    block = ListFilter((str(path),), min_matches=2, max_share=0.0)
    assert verdict(block, "foo\nbar and 吃苹果") == "my_words"
    assert verdict(block, "BAR1, Baz22") == "my_words"
    assert verdict(block, "foobar bar 苹") is True
    assert read_list(path).matches("foo bar, foo   bars, 青苹果") == (2, 9)


def test_latin_words_match_whole_and_longest():
    found = [
        pattern.findall("best prices, buy nowhere, rebuy now, 立即购买now") for pattern in read_list("adverts").patterns
    ]
    assert found[:2] == [["best prices"], ["立即购买"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no entries"),
        (b"good\n/(unclosed/\n", ":2: /(unclosed/"),
        (b"/a(b)/", "has a group"),
        (b"/a*/", "empty text"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_wrong_lists_are_explained(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_list(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", shipped_lists())
def test_every_entry_of_a_shipped_list_is_matched_by_it(name):
    path = read_list.__globals__["FOLDER"] / f"{name}.txt"
    entries = [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] not in "#/"]
    assert len(entries) == len(set(entries)) > 20
    assert [entry for entry in entries if read_list(name).matches(f"x {entry.lower()} x") == (0, 0)] == []


WORDS = st.text("abc包邮购买", min_size=1, max_size=5)


@given(st.lists(WORDS, min_size=1, max_size=8), st.text("abc包邮购买 .", max_size=60))
def test_matches_are_those_of_a_plain_search(tmp_path_factory, words, text):
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_text("\n".join(words), encoding="utf-8")

    def found(word: str, at: int) -> bool:
        end = at + len(word)
        before = word[0] in "abc" and at > 0 and text[at - 1] in "abc"
        after = word[-1] in "abc" and end < len(text) and text[end] in "abc"
        return text.startswith(word, at) and not before and not after

    count = 0
    for alphabet in ("abc", "包邮购买"):
        at = 0
        while at < len(text):
            longest = max((len(word) for word in words if word[0] in alphabet and found(word, at)), default=0)
            count, at = count + bool(longest), at + max(longest, 1)
    assert read_list(path).matches(text)[0] == count
