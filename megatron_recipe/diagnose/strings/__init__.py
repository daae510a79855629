"""Every word of `diagnose`: one table for each language, with the same keys and the same {placeholders}."""

from megatron_recipe.diagnose.strings import en_machine, en_training, zh_machine, zh_training
from megatron_recipe.diagnose.strings.words import CheckWords

CHECKS: dict[str, dict[str, CheckWords]] = {
    "en": {**en_training.WORDS, **en_machine.WORDS},
    "zh": {**zh_training.WORDS, **zh_machine.WORDS},
}
METRICS: dict[str, dict[str, str]] = {"en": {}, "zh": zh_machine.METRICS}
PAGES: dict[str, dict[str, str]] = {"en": en_machine.PAGE, "zh": zh_machine.PAGE}
