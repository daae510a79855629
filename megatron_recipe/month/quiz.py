"""The quiz: interview questions made of what was found, with model answers whose figures are the evidence's own."""

from dataclasses import dataclass

from megatron_recipe.month.evidence import Found
from megatron_recipe.month.ledger import Ledger
from megatron_recipe.month.strings import evidence_text, shown
from megatron_recipe.month.strings.quiz_en import PAGE as ENGLISH_PAGE
from megatron_recipe.month.strings.quiz_en import QUIZ as ENGLISH
from megatron_recipe.month.strings.quiz_zh import PAGE as CHINESE_PAGE
from megatron_recipe.month.strings.quiz_zh import QUIZ as CHINESE

QUIZ = {"en": ENGLISH, "zh": CHINESE}
PAGE = {"en": ENGLISH_PAGE, "zh": CHINESE_PAGE}


@dataclass(frozen=True)
class Question:
    """One question with a model answer."""

    name: str
    """Of the place for the user's own answer; the same in both languages."""
    question: str
    points: tuple[str, ...]
    """Sentences of the answer."""
    found: Found
    """Where its figures are from."""
    evidence: str
    """That, as a sentence."""


def questions(ledger: Ledger, lang: str) -> list[Question]:
    """A question for each piece of evidence that has one, in the order of QUIZ; nothing is asked that was not found."""
    order = list(QUIZ[lang])
    found = sorted((one for one in ledger.evidence if one.kind in order), key=lambda one: order.index(one.kind))
    asked: dict[str, Question] = {}
    for one in found:
        name = "-".join(filter(None, (one.kind, str(one.values.get("name", "")))))
        question, *points = (text.format(**shown(one.values, lang)) for text in QUIZ[lang][one.kind])
        # one question a kind: the ledger has the small run's evidence before the big one's, and the big one's is asked
        asked[name] = Question(name, question, tuple(points), one, evidence_text(one, lang))
    return list(asked.values())
