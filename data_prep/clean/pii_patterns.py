"""What counts as personal data: patterns and the checks that keep version numbers and file names out.

A pattern begins with the first character of what it finds, and looks behind after it: so a search skips quickly to
characters that can begin a match. Nothing Latin may stand beside a match; Chinese characters may (电话13812345678).
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

_NOT_AFTER = r"(?<![0-9A-Za-z_.@/=#$%-].)"
_NOT_BEFORE = r"(?![0-9A-Za-z_@=]|[.-]\d)"
_CHINESE_PREFIX = r"(?:3\d|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])"  # after the 1; those that are given out


@dataclass(frozen=True)
class Kind:
    """One kind of personal data.

    Args:
        name: in settings and counts.
        patterns: each match is a candidate; where a pattern has a group `value`, that alone is masked. A pattern is
            only searched for in text that has one of its signs.
        is_valid: says of a candidate whether it is one.
    """

    name: str
    patterns: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]
    is_valid: Callable[[str], bool]


_NO_HOST = re.compile(
    r"\.(?:service|socket|timer|target|mount|device|slice|scope|path|html?|js|css|md|rst|txt|png|jpe?g|gif|svg|py|sh|c|h"
    r"|json|ya?ml|xml|conf|cfg|so|local|localhost|localdomain|lan|invalid|example|test)$"
)
_EXAMPLE_HOSTS = ("example.com", "example.org", "example.net")


def is_email(text: str) -> bool:
    """Not a reserved example (RFC 2606), systemd unit, scaled image (``icon@2x.png``) or login name of a code host."""
    local, _, host = text.lower().rpartition("@")
    return not (_NO_HOST.search(host) or host.endswith(_EXAMPLE_HOSTS) or local in {"git", "svn", "cvs", "anonymous"})


def is_public_ip(text: str) -> bool:
    """The public address of a machine, no network's (x.x.x.0), version's or section's: those have small numbers.

    Of its four numbers two are 32 or more, or the first is 128 or more: 95 % of addresses, and no section in a book.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if not address.is_global or address.is_multicast:
        return False
    if address.version == 6:
        return True
    numbers = address.packed
    return numbers[3] != 0 and (numbers[0] >= 128 or sum(number >= 32 for number in numbers) >= 2)


def is_phone(text: str) -> bool:
    """9 to 15 digits (ITU-T E.164 has 15 at most; local numbers without an area are too short to tell); no address."""
    digits = re.sub(r"\D", "", text)
    return 9 <= len(digits) <= 15 and len(set(digits)) > 2 and not _DOTTED.fullmatch(text)


_DOTTED = re.compile(r"\+\d+(?:\.\d+){3}")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
_PROVINCE = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")


def is_id_number(text: str) -> bool:
    """A Chinese identity number: province, date of birth, and of 18 digits the last one's check (GB 11643-1999)."""
    if not _PROVINCE.match(text):
        return False
    born = text[6:14] if len(text) == 18 else "19" + text[6:12]
    try:
        date(int(born[:4]), int(born[4:6]), int(born[6:]))
    except ValueError:
        return False
    if len(text) == 15:
        return True
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, text, strict=False))
    return _ID_CHECKS[total % 11] == text[17].upper()


def is_bank_card(text: str) -> bool:
    """13 to 19 digits with a right last digit (Luhn, ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and any(digits) and (sum(doubled) + sum(digits[::-2])) % 10 == 0


_ID_18 = rf"[1-8]{_NOT_AFTER}\d{{5}}(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}[\dXx]{_NOT_BEFORE}"
_ID_15 = r"身[份分][证證](?:号码?|號碼?)?[\s:：为是]{0,4}(?P<value>[1-8]\d{14})(?!\d)"
_CARD = (
    r"[卡账帐帳a](?:(?<=卡)[号號]?|(?<=[账帐帳])[号號]|(?<=[Cc]a)rd(?: [Nn]umber| [Nn]o\.?| #)?)"
    r"[^\d\n\[]{0,8}(?P<value>\d(?:[ -]?\d){12,18})(?!\d)"
)
_MOBILE = (
    rf"[1(+0]{_NOT_AFTER}(?:(?<=1)|(?<=\+)86[ -]?1|(?<=\()\+?86\)[ -]?1|(?<=0)086[ -]?1)"
    rf"{_CHINESE_PREFIX}(?:(?<=86.{{3}})|(?<=86.{{4}})|(?<=86.{{5}})|[ -])\d{{4}}[ -]?\d{{4}}{_NOT_BEFORE}"
)
# eleven digits in one piece are also a time or a number of bytes: Chinese stands beside a phone number, or what it is
_WIDE = "\u3000-\u9fff\uff00-\uffef"
_LABEL = r"(?<=[Tt]el.1)|(?<=[Tt]el..1)|(?<=hone.1)|(?<=hone..1)|(?<=obile.1)|(?<=obile..1)"
_MOBILE_RUN = (
    rf"1{_NOT_AFTER}{_CHINESE_PREFIX}\d{{8}}{_NOT_BEFORE}"
    rf"(?:(?<=[{_WIDE}].{{11}})|(?<=[{_WIDE}][ \n].{{11}})|(?=[ \n]?[{_WIDE}]))"
)
_LABELLED_MOBILE = rf"1(?:{_LABEL}){_CHINESE_PREFIX}\d{{8}}{_NOT_BEFORE}"
_LANDLINE = (
    rf"[0(]{_NOT_AFTER}(?:(?<=0)|(?<=\()0)(?:10|2\d|[3-9]\d\d)(?:\)[ -]?|-|(?<=\d) )[2-8]\d{{2,3}}[ -]?\d{{4}}"
    rf"(?:-\d{{1,4}})?{_NOT_BEFORE}"
)
_INTERNATIONAL = rf"\+{_NOT_AFTER}[1-9]\d{{0,2}}(?:[ .-]?\(\d{{1,5}}\)|[ .-]\d{{1,8}}){{2,5}}{_NOT_BEFORE}"
_INTERNATIONAL_RUN = rf"\+{_NOT_AFTER}(?:1[2-9]|[2-9]\d)\d{{9,11}}{_NOT_BEFORE}"
_AMERICAN = (
    rf"[(2-9]{_NOT_AFTER}(?!00)(?:(?<=\()[2-9]\d\d\) ?[2-9]\d\d[-. ]|\d\d-[2-9]\d\d-|\d\d\.[2-9]\d\d\.)"
    rf"\d{{4}}{_NOT_BEFORE}"
)
_EMAIL = (
    r"[A-Za-z0-9](?<![A-Za-z0-9._%+@/-].)[A-Za-z0-9._%+-]*@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![A-Za-z0-9_-]|\.[A-Za-z0-9])"
)
_IP4 = r"\d(?<![0-9A-Za-z_.-].)\d{0,2}(?:\.\d{1,3}){3}(?![0-9A-Za-z_]|[.-][0-9A-Za-z])"
_IP6 = r"[23](?<![0-9A-Za-z:._-].)[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{4,34}(?![0-9A-Za-z_:])"

_ANY = ("",)  # stands in every text

KINDS: tuple[Kind, ...] = (
    Kind("id_number", ((_ANY, re.compile(_ID_18)), (("身",), re.compile(_ID_15))), is_id_number),
    Kind("bank_card", ((("卡", "账号", "帐号", "帳號", "card", "Card"), re.compile(_CARD)),), is_bank_card),
    Kind(
        "phone",
        (
            (("+",), re.compile(_INTERNATIONAL)),
            (("+",), re.compile(_INTERNATIONAL_RUN)),
            (_ANY, re.compile(_MOBILE)),
            (_ANY, re.compile(_MOBILE_RUN)),
            (("el", "hone", "obile"), re.compile(_LABELLED_MOBILE)),
            (_ANY, re.compile(_LANDLINE)),
            (_ANY, re.compile(_AMERICAN)),
        ),
        is_phone,
    ),
    Kind("ip", ((_ANY, re.compile(_IP4)), ((":",), re.compile(_IP6))), is_public_ip),
    Kind("email", ((("@",), re.compile(_EMAIL)),), is_email),
)
"""In the order they are looked for: longer numbers before what could stand inside them."""
