"""The languages that pages, tables and messages are written in."""

from megatron_recipe.errors import ConfigError

LANGUAGES = ("en", "zh")


def require_language(lang: str) -> None:
    """Raise ConfigError for a `--lang` that nothing is written in."""
    if lang not in LANGUAGES:
        raise ConfigError(f"--lang={lang}: unknown language; choose {' or '.join(LANGUAGES)}")
