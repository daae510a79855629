"""Personal data is masked, numbers that only look like it are not, and masking twice is masking once."""

import pytest
from datatrove.data import Document
from hypothesis import given
from hypothesis import strategies as st

from data_prep.clean.pii import REPLACEMENTS, MaskPII
from data_prep.clean.pii_patterns import is_bank_card, is_id_number

MASK = MaskPII()
ID_NUMBER = "11010519491231002X"  # the example of GB 11643-1999
CARD = "4111 1111 1111 1111"  # the test number of payment services


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jane.doe+news@mail.uni-koeln.de.", "Write to [EMAIL]."),
        ("邮箱：zhangsan@163.com，谢谢", "邮箱：[EMAIL]，谢谢"),
        ("From: <ada@lovelace.name>", "From: <[EMAIL]>"),
        ("联系zhang_san@qq.com或电话13812345678。", "联系[EMAIL]或电话[PHONE]。"),
        ("手机 138-1234-5678 或 +86 139 1234 5678", "手机 [PHONE] 或 [PHONE]"),
        ("(86)13812345678; 008613812345678", "[PHONE]; [PHONE]"),
        ("Tel: 13812345678\nMobile:13812345678", "Tel: [PHONE]\nMobile:[PHONE]"),
        ("13812345678 张三\n李四 13912345678", "[PHONE] 张三\n李四 [PHONE]"),
        ("座机010-62345678，(021) 6234 5678，0755-82345678-123", "座机[PHONE]，[PHONE]，[PHONE]"),
        ("Call (415) 555-2671 or 415-555-2671 or +1 415-555-2671.", "Call [PHONE] or [PHONE] or [PHONE]."),
        ("London +44 20 7946 0958, Berlin +49 (30) 901820, +4915112345678", "London [PHONE], Berlin [PHONE], [PHONE]"),
        ("ping 185.199.108.153 answered; 从114.247.50.2登录", "ping [IP] answered; 从[IP]登录"),
        ("at 2a00:1450:4001:81b::200e, port 443", "at [IP], port 443"),
        (f"身份证号：{ID_NUMBER}。", "身份证号：[ID_NUMBER]。"),
        (f"证件{ID_NUMBER.lower()}", "证件[ID_NUMBER]"),
        ("身份证号码：110105491231002", "身份证号码：[ID_NUMBER]"),
        (f"银行卡号：{CARD}，开户行", "银行卡号：[BANK_CARD]，开户行"),
        (f"credit card {CARD.replace(' ', '-')} was charged", "credit card [BANK_CARD] was charged"),
    ],
)
def test_personal_data_is_masked(text, masked):
    assert MASK.mask(text)[0] == masked
    assert MASK.mask(masked) == (masked, {})


@pytest.mark.parametrize(
    "text",
    [
        "Chrome 96.0.4664.45-beta and v120.0.6099.109 and kernel-5.10.84.33.tar.gz",
        "version 2.6.32.12 of 1.2.3.4, OID 1.3.6.1.4.1.311, section 4.12.31.2",
        "127.0.0.1 192.168.1.10 10.0.0.1 172.16.5.4 255.255.255.0 192.0.2.1 224.0.0.1 fe80::1 2001:db8::1",
        "std::vector a::b dead::beef 12:34:56 00:1a:2b:3c:4d:5e 2021:12:31 10:20",
        "user@example.com, git@github.com:group/project, getty@tty1.service, icon@2x.png, @decorator a@b",
        "commit 13812345678abc, 0x13812345678, 1381234567812345678, 0.13812345678, ts=1638123456789",
        "total 14511243264, Timestamp: 17107041535, echo +192.168.0.101, +2147483647, network 192.57.66.0",
        "6.1.8.66. Mach, 5.2.6.91 Cards, section 36.2.1.3, errata 50.2.6.3",
        "电话 12345678901，400-820-8820，订单号 23812345678",
        "2021-10-12 1999-2000 2021-2022-2023 1-2-3 100-200-3000",
        "ISBN 978-7-111-54493-7 and 7-302-02368-9; pi is 3.14159265358979",
        "id 110105194912310021 has a wrong check digit, 991105194912310020 no province",
        "+1 -1 +100 +2.5 +12345 1+1=2 +12-34 x+1234567890123456789",
        f"number {CARD} without a label, 卡号 4111 1111 1111 1112",
        "床前明月光，疑是地上霜。",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert MASK.mask(text) == (text, {})


def test_counts_are_kept_with_the_document_and_in_the_statistics():
    block = MaskPII({"phone": "(a phone)", "ip": None})
    texts = ["a@b.org c@d.org 138 1234 5678 185.199.108.153", "nothing here"]
    with_some, without = block.run(iter([Document(text=text, id=text) for text in texts]))
    assert with_some.text == "[EMAIL] [EMAIL] (a phone) 185.199.108.153"
    assert with_some.metadata["pii"] == {"phone": 1, "email": 2}
    assert without.metadata == {}
    assert block.stats.stats["masked_email"].total == 2


NUMBERS = ["13812345678", "010-62345678", "+44 20 7946 0958", "185.199.108.153", ID_NUMBER, CARD, "12", "1"]
OTHER = ["a@b.org", "卡号", "电话", " ", "。", "abc", "-", ".", "+", "@", ":", "2a00:1450:4001:81b::200e"]
PARTS = st.sampled_from([*NUMBERS, *OTHER, *REPLACEMENTS.values()])


@given(st.lists(PARTS, max_size=12).map("".join))
def test_masking_twice_is_masking_once(text):
    masked = MASK.mask(text)[0]
    assert MASK.mask(masked) == (masked, {})


def test_numbers_that_hang_together_are_all_masked():
    text = "010-62345678" + 12 * "+44 20 7946 0958"
    assert MASK.mask(text) == (13 * "[PHONE]", {"phone": 13})


@given(st.text(st.characters(exclude_categories=["Nd"], exclude_characters="@:"), max_size=200))
def test_text_without_digits_and_at_signs_is_never_changed(text):
    assert MASK.mask(text) == (text, {})


@given(st.integers(0, 10**17 - 1))
def test_one_check_digit_in_eleven_is_right(number):
    body = f"110105{1900 + number % 100}0101{number % 1000:03d}"
    assert sum(is_id_number(body + check) for check in "0123456789X") == 1


@given(st.integers(10**14, 10**15 - 1))
def test_one_last_digit_in_ten_is_right(number):
    assert sum(is_bank_card(f"{number}{digit}") for digit in range(10)) == 1
