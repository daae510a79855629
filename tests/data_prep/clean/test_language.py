"""Languages are named by the packaged model; text of Chinese characters is Chinese whatever the model says."""

import pickle

import pytest
from datatrove.data import Document
from made_texts import CHINESE, ENGLISH

from data_prep.clean.language import LanguageLabel, is_chinese

POEM = "國破山河在，城春草木深。感時花濺淚，恨別鳥驚心。"
IDIOM = "画蛇添足（huà shé tiān zú）\n释义：画蛇时给蛇添上脚。"
JAPANESE = "これは日本語の文章です。漢字もひらがなも使います。"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"), (CHINESE, "zh"), (POEM, "zh"), (IDIOM, "zh"), (JAPANESE, "ja"),
        ("Der Ausschuss besprach den Bericht vor dem Mittagessen.", "de"),
        ("한국어 문장은 한글로 씁니다. 漢字도 가끔 씁니다.", "ko"),
    ],
)  # fmt: skip
def test_languages(text, language):
    (document,) = LanguageLabel().run(iter([Document(text=text, id="x")]))
    assert document.metadata["language"] == language
    assert 0 <= document.metadata["language_score"] <= 1


def test_a_doubtful_text_is_unknown():
    assert LanguageLabel(min_score=0.99).identify("ok")[0] == "unknown"


def test_the_block_can_be_sent_to_a_process_after_use():
    label = LanguageLabel()
    label.identify(ENGLISH)
    assert pickle.loads(pickle.dumps(label)).identify(ENGLISH)[0] == "en"


def test_english_about_a_chinese_word_is_english():
    assert not is_chinese("The word 道 is read dao and stands at the root of a whole philosophy.")
