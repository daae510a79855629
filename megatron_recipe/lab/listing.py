"""The command `lab list`: the ready comparisons, and what each is good for."""

from rich.console import Console
from rich.table import Table

from megatron_recipe.errors import ConfigError
from megatron_recipe.lab.comparison import comparison_names, read_comparison
from megatron_recipe.lab.words import WORDS


def list_command(lang: str) -> None:
    """Print the ready comparisons."""
    if lang not in WORDS:
        raise ConfigError(f"--lang {lang}: not a language here; use one of {', '.join(WORDS)}")
    table = Table(show_header=False, box=None, padding=(0, 2, 1, 0))
    for name in comparison_names():
        comparison = read_comparison(name)
        why, what = getattr(comparison.why, lang), getattr(comparison.title, lang)
        labels = [setting.label for setting in comparison.settings]
        labels += [str(value) for values in comparison.grid.values() for value in values]
        table.add_row(name, f"{what}: {', '.join(labels)}\n{why}" if labels else f"{what}\n{why}")
    Console().print(table)
