"""An incident's figures as text: what they are called, how they are written."""

from typing import Any

from megatron_recipe.config import Config
from megatron_recipe.diagnose.criterion import Evidence
from megatron_recipe.diagnose.output import evidence_words, number, words_of
from megatron_recipe.diagnose.strings import METRICS
from megatron_recipe.lab.incident_measures import NAMED, WINDOWS
from megatron_recipe.lab.incident_words import WORDS

Values = dict[str, Any]
Dictionary = dict[str, str]
WHOLE = 1000
"""Numbers from which on the digits before the point are enough."""


def told(text: Dictionary, lang: str) -> str:
    """A text of an incident's file; commands in it stand without marks, as everything does in a document."""
    return text[lang].replace("`", "")


def figure_name(name: str, lang: str) -> str:
    """What a figure of `incident_measures` is called."""
    words = WORDS[lang]
    if f"figure.{name}" in words:
        return words[f"figure.{name}"]
    field, _, window = name.rpartition(".")
    return words[f"window.{window}"].format(field=field) if window in WINDOWS and field else name.replace("_", " ")


def condition_name(condition: Values, lang: str) -> str:
    """What a condition asks for."""
    words = WORDS[lang]
    if condition["checks"]:
        titles = words["semicolon"].join(words_of(name, lang).title for name in condition["checks"])
        return words["criterion.check"].format(title=titles)
    return figure_name(condition["measure"], lang)


def evidence_text(seen: Values, lang: str) -> str:
    """An entry of incident.json's evidence: `update_ratio 0.33 (limit ≤ 0.2), step 5`."""
    named = seen["metric"] in NAMED or seen["metric"].rpartition(".")[2] in WINDOWS
    metric = figure_name(seen["metric"], lang) if named else METRICS[lang].get(seen["metric"])
    known = metric or seen["metric"]
    return evidence_words(
        Evidence(known, value_text(seen["value"]), seen["limit"], seen["first_step"], seen["last_step"]), lang
    )


def ratio_text(ratio: float | str | None) -> str:
    """A remedy's loss over the control's."""
    return "–" if ratio is None else ratio if isinstance(ratio, str) else f"{ratio:.3f}"


def state_text(run: Values, words: Dictionary) -> str:
    """How a run ended."""
    return words[f"state.{run['state']}"].format(reason=run["reason"])


def number_text(value: float | str | None) -> str | None:
    """As `value_text`; None stays None: it was not measured."""
    return None if value is None else value_text(value)


def setting_text(value: Any) -> str:
    """A value of a configuration."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def accident_text(change: Values) -> str:
    """A change that is no setting, by its kind and fields."""
    fields = ", ".join(f"{name} {setting_text(value)}" for name, value in change.items() if name != "kind")
    return f"{change['kind']}: {fields}" if fields else change["kind"]


def is_measured(seen: Values) -> bool:
    """Whether an entry of evidence is a figure beside a limit, and no setting."""
    return bool(seen["limit"]) and seen["metric"].split(".")[0] not in Config.model_fields


def value_text(value: float | str) -> str:
    """A value of evidence, to three digits, and large ones whole."""
    return value if isinstance(value, str) else number(value) if abs(value) < WHOLE else f"{value:,.0f}"
