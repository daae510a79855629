"""The command `lab list`: the ready comparisons and incidents, and what each is good for."""

from rich.console import Console
from rich.table import Table

from megatron_recipe.lab.comparison import comparison_names, read_comparison
from megatron_recipe.lab.incident import incident_names, read_incident
from megatron_recipe.lab.incident_words import WORDS as INCIDENT_WORDS
from megatron_recipe.languages import require_language


def list_command(lang: str) -> None:
    """Print the ready comparisons, then the incidents."""
    require_language(lang)
    console = Console()
    table, incidents = _rows(), _rows()
    for name in comparison_names():
        comparison = read_comparison(name)
        why, what = getattr(comparison.why, lang), getattr(comparison.title, lang)
        labels = [setting.label for setting in comparison.settings]
        labels += [str(value) for values in comparison.grid.values() for value in values]
        table.add_row(name, f"{what}: {', '.join(labels)}\n{why}" if labels else f"{what}\n{why}")
    for name in incident_names():
        incident = read_incident(name)
        needs = "" if incident.needs == "cpu" else f" ({INCIDENT_WORDS[lang]['verdict.needs a gpu']})"
        incidents.add_row(name, f"{getattr(incident.title, lang)}{needs}\n{getattr(incident.learned, lang)}")
    for command, rows in (("compare", table), ("incident", incidents)):
        console.print(f"megatron-recipe lab {command} NAME", style="bold", highlight=False)
        console.print(rows)


def _rows() -> Table:
    """Names, and what they are: folded where it is long, since Chinese has no spaces to break a line at."""
    table = Table(show_header=False, box=None, padding=(0, 2, 1, 0))
    table.add_column()
    table.add_column(overflow="fold")
    return table
