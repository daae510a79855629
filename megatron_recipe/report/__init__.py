"""The report of a run: one HTML file that opens anywhere. Run: megatron-recipe report runs/<name> --lang zh

Importing this package costs nothing; matplotlib and jinja2 load when a report is written.
"""

from pathlib import Path

from megatron_recipe.console import say
from megatron_recipe.errors import ConfigError

LANGUAGES = ("en", "zh")


def write_report(run_dir: Path, *, lang: str = "en", out: Path | None = None) -> Path:
    """Write the report of the run in `run_dir` to `out` (default: report.html in that folder) and return its path.

    Raises ConfigError for an unknown language or an `out` that is a folder, DataError for a folder that is no run
    or holds a damaged file.
    """
    target = _target(run_dir, lang, out)
    from megatron_recipe.files import atomic_file
    from megatron_recipe.report.page import render_page
    from megatron_recipe.report.run_files import read_run

    page = render_page(read_run(run_dir), lang)
    with atomic_file(target) as file:
        file.write(page)
    return target


def report_command(run: Path, lang: str, out: Path | None, dry_run: bool) -> None:
    """What `megatron-recipe report` does; with `dry_run` it reads the run and says what the page would hold."""
    if not dry_run:
        path = write_report(run, lang=lang, out=out)
        say(f"report: {path} ({path.stat().st_size / 1e3:,.0f} kB)")
        return
    target = _target(run, lang, out)
    from megatron_recipe.report.run_files import read_run

    for part, found in read_run(run).contents().items():
        say(f"{part}: {found}")
    say(f"would write {target}")


def _target(run_dir: Path, lang: str, out: Path | None) -> Path:
    if lang not in LANGUAGES:
        raise ConfigError(f"--lang={lang}: unknown language; choose {' or '.join(LANGUAGES)}")
    if out is not None and out.is_dir():
        raise ConfigError(f"--out={out} is a folder, but a report is one file; try {out / 'report.html'}")
    return out or run_dir / "report.html"
