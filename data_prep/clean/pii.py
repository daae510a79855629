"""Masks personal data: e-mail addresses, public IP addresses, phone numbers, Chinese ID numbers, bank cards."""

import re
from typing import Any

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from data_prep.clean.pii_patterns import KINDS, Kind
from megatron_recipe.errors import ConfigError
from megatron_recipe.settings import suggestion

REPLACEMENTS = {
    "email": "[EMAIL]",
    "ip": "[IP]",
    "phone": "[PHONE]",
    "id_number": "[ID_NUMBER]",
    "bank_card": "[BANK_CARD]",
}
MAX_PASSES = 64
"""A mark may free what stood beside it: of two numbers that touch, one is masked after the other."""


class MaskPII(PipelineStep):
    """Put readable marks in the place of personal data; nothing is dropped.

    `masked_KIND` counts what was masked, and metadata.pii has the counts of a document that had any. Private, reserved
    and documentation addresses stay, since they are nobody's, and so do 400 and 800 numbers of firms. Numbers of bank
    cards, and ID numbers of 15 digits, are masked only where a word before says what they are.

    Args:
        replacements: kind → text in its place, over the default `[KIND]`; None leaves that kind as it is.

    Raises:
        ConfigError: an unknown kind, or a replacement that would itself be masked.
    """

    type = "✂️ - FORMAT"
    name = "📞 PII"

    def __init__(self, replacements: dict[str, str | None] | None = None) -> None:
        super().__init__()
        chosen: dict[str, str | None] = {**REPLACEMENTS, **(replacements or {})}
        for kind in chosen:
            if kind not in REPLACEMENTS:
                raise ConfigError(
                    f"clean.pii.replacements.{kind} is not known{suggestion(kind, list(REPLACEMENTS))}; "
                    f"known: {', '.join(REPLACEMENTS)}"
                )
        self.replacements = {kind: text for kind, text in chosen.items() if text is not None}
        marks = "|".join(map(re.escape, self.replacements.values()))
        before, after = r"[0-9A-Za-z+(]|::|[0-9][ .-]", r"[.-]?[0-9A-Za-z+(]| [0-9(+]"
        self._touching = re.compile(f"(?:{before})(?:{marks})|(?:{marks})(?:{after})")
        for kind, text in self.replacements.items():
            if self.mask(text)[1]:
                raise ConfigError(
                    f"clean.pii.replacements.{kind}={text!r} would be masked itself; "
                    f"write a mark like {REPLACEMENTS[kind]}"
                )

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        for document in data or ():
            with self.track_time():
                document.text, counts = self.mask(document.text)
            for kind, count in counts.items():
                self.stat_update(f"masked_{kind}", value=count)
            if counts:
                document.metadata["pii"] = counts
            yield document

    def mask(self, text: str) -> tuple[str, dict[str, int]]:
        """The text with marks, and how many of each kind were found."""
        counts: dict[str, int] = {}
        for _ in range(MAX_PASSES):
            found = 0
            for kind in KINDS:
                if (mark := self.replacements.get(kind.name)) is not None:
                    text, count = _masked(kind, mark, text)
                    if count:
                        counts[kind.name] = counts.get(kind.name, 0) + count
                        found += count
            if not found or not self._touching.search(text):
                break
        return text, counts


def _masked(kind: Kind, mark: str, text: str) -> tuple[str, int]:
    count = 0

    def replacement(match: re.Match[str]) -> Any:
        nonlocal count
        whole: str = match[0]
        value = match["value"] if match.re.groups else whole
        if not kind.is_valid(value):
            return whole
        count += 1
        return whole.removesuffix(value) + mark

    for signs, pattern in kind.patterns:
        if any(sign in text for sign in signs):
            text = pattern.sub(replacement, text)
    return text, count
