"""The words of the data report, over those of the run's report."""

from data_prep.report.strings.en import ENGLISH
from data_prep.report.strings.zh import CHINESE
from megatron_recipe.report.strings import TABLES as RUN_TABLES
from megatron_recipe.report.strings import Strings

TABLES = {"en": ENGLISH, "zh": CHINESE}


def strings_for(lang: str) -> Strings:
    """The strings of a language in `TABLES`."""
    return Strings({**RUN_TABLES[lang], **TABLES[lang]})
