"""Reports: one HTML file that opens anywhere, of a run or of a comparison, and the retrospective of a run.

Run: megatron-recipe report runs/<name> --lang zh, megatron-recipe report comparisons/<name>

Importing this package costs nothing; matplotlib and jinja2 load when a report is written.
"""

from pathlib import Path

from megatron_recipe.console import say
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.languages import require_language

GENERATOR = b'<meta name="generator" content="megatron-recipe '
"""Stands in the head of every page of ours."""


def write_report(run_dir: Path, *, lang: str = "en", out: Path | None = None, reference: str | None = None) -> Path:
    """Write the report of the run in `run_dir` to `out` (default: report.html in that folder) and return its path.

    Args:
        reference: name or file of a reference curve, whose band is drawn behind the loss; None draws none.

    Raises ConfigError for an unknown language or reference, another kind of run than the reference's, or an `out` that
    is a folder or a file of somebody's own, DataError for a folder that is no run or holds a damaged file.
    """
    target = _target(run_dir / "report.html", lang, out)
    from megatron_recipe.files import atomic_file
    from megatron_recipe.references.standing import standing_in
    from megatron_recipe.report.page import render_page
    from megatron_recipe.report.run_files import read_run

    page = render_page(read_run(run_dir), lang, standing_in(reference))
    with atomic_file(target) as file:
        file.write(page)
    return target


def write_comparison_report(folder: Path, *, lang: str = "en", out: Path | None = None) -> Path:
    """Write the report of the comparison in `folder` as HTML to `out` (default: report.html there) and return its path.

    Beside it stands the same as Markdown. Raises as `write_report` does; ConfigError also for Markdown there that is
    not ours.
    """
    target = _page_target(folder / "report.html", lang, out)
    from megatron_recipe.report.comparison import comparison_document
    from megatron_recipe.report.comparison_file import read_comparison
    from megatron_recipe.report.document_files import now, refuse_foreign_markdown, write_document

    refuse_foreign_markdown(target)
    write_document(comparison_document(read_comparison(folder), lang, target.name, now()), target)
    return target


def write_retrospective(
    run_dir: Path,
    *,
    lang: str = "en",
    out: Path | None = None,
    comparisons: tuple[Path, ...] = (),
    price: str | None = None,
) -> Path:
    """Write the retrospective of the run in `run_dir` to `out` (default: retrospective.html there), return its path.

    Beside it stands the same as Markdown, whose words by the author are kept and set into both.

    Args:
        comparisons: folders of comparisons whose findings belong to it.
        price: of the whole machine, `5/h` or `2.5usd/h`, instead of the prices that the run recorded.

    Raises as `write_report` does; ConfigError also for Markdown there that is no retrospective.
    """
    target = _page_target(run_dir / "retrospective.html", lang, out)
    from megatron_recipe.budget import parse_price
    from megatron_recipe.report.comparison_file import read_comparison
    from megatron_recipe.report.document import markdown_path
    from megatron_recipe.report.document_files import now, write_document
    from megatron_recipe.report.markdown import author_words
    from megatron_recipe.report.retrospective import Story, retrospective_document
    from megatron_recipe.report.run_files import read_run

    story = Story(
        run=read_run(run_dir),
        comparisons=[read_comparison(folder) for folder in comparisons],
        price=parse_price(price) if price else None,
        author=author_words(markdown_path(target)),
    )
    write_document(retrospective_document(story, lang, target.name, now()), target)
    return target


def report_command(
    folder: Path,
    lang: str,
    out: Path | None,
    dry_run: bool,
    retrospective: bool = False,
    comparisons: tuple[Path, ...] = (),
    price: str | None = None,
    reference: str | None = None,
) -> None:
    """What `megatron-recipe report` does; with `dry_run` it reads the folder and says what the page would hold.

    Raises ConfigError for options that do not go together.
    """
    from megatron_recipe.report.comparison_file import is_comparison

    if not retrospective and (comparisons or price):
        given = f"--comparison {comparisons[0]}" if comparisons else f"--price {price}"
        raise ConfigError(f"{given} is for the retrospective only; add --retrospective")
    if reference and (retrospective or is_comparison(folder)):
        raise ConfigError(f"--reference {reference} is for the report of a run; leave it out here")
    if folder.is_dir() and not (folder / "config.yaml").is_file() and not is_comparison(folder):
        raise DataError(
            f"{folder} is neither a run (no config.yaml) nor a comparison (no comparison.json); name a folder made by "
            "`megatron-recipe train` or `megatron-recipe lab compare`"
        )
    if is_comparison(folder):
        if retrospective:
            raise ConfigError(
                f"--retrospective is about a run, and {folder} is a comparison; try "
                f"`megatron-recipe report RUN --retrospective --comparison {folder}`"
            )
        if dry_run:
            _say_comparison(folder)
            say(f"would write {_page_target(folder / 'report.html', lang, out)}, and the same as Markdown")
        else:
            _said(write_comparison_report(folder, lang=lang, out=out))
    elif dry_run:
        _say_run(folder)
        for one in comparisons:
            _say_comparison(one)
        if price:
            from megatron_recipe.budget import parse_price

            parse_price(price)
        if retrospective:
            say(f"would write {_page_target(folder / 'retrospective.html', lang, out)}, and the same as Markdown")
        else:
            _check_reference(folder, reference)
            say(f"would write {_target(folder / 'report.html', lang, out)}")
    elif retrospective:
        _said(write_retrospective(folder, lang=lang, out=out, comparisons=comparisons, price=price))
    else:
        _said(write_report(folder, lang=lang, out=out, reference=reference))


def _said(path: Path) -> None:
    say(f"report: {path} ({path.stat().st_size / 1e3:,.0f} kB)")


def _say_run(folder: Path) -> None:
    from megatron_recipe.report.run_files import read_run

    for part, found in read_run(folder).contents().items():
        say(f"{part}: {found}")


def _check_reference(folder: Path, reference: str | None) -> None:
    from megatron_recipe.references.standing import standing_in
    from megatron_recipe.report.run_files import read_run

    run = read_run(folder)
    if standing := standing_in(reference):
        standing.check(folder, run.config, run.environment)


def _say_comparison(folder: Path) -> None:
    from megatron_recipe.report.comparison_file import FINISHED, read_comparison

    comparison = read_comparison(folder)
    done = sum(run.state == FINISHED for _, run in comparison.runs)
    say(f"comparison {comparison.name}: {len(comparison.settings)} settings, {done} of {len(comparison.runs)} runs")


def _page_target(default: Path, lang: str, out: Path | None) -> Path:
    """Where a page goes that has Markdown beside it."""
    if out is not None and out.suffix == ".md":
        raise ConfigError(
            f"--out={out} names the page, and Markdown is written beside it; try {out.with_suffix('.html')}"
        )
    return _target(default, lang, out)


def _target(default: Path, lang: str, out: Path | None) -> Path:
    require_language(lang)
    if out is not None and out.is_dir():
        raise ConfigError(f"--out={out} is a folder, but a report is one file; try {out / default.name}")
    if out is not None and not _may_replace(out):
        raise ConfigError(
            f"--out={out} is there and no report's page of megatron-recipe, so that it is not replaced; name another "
            "file, or move that one away"
        )
    return out or default


def _may_replace(out: Path) -> bool:
    """Whether nothing of somebody's own would be lost: `out` is not there, empty, a page of ours, or no file at all."""
    from megatron_recipe.files import is_no_place

    if is_no_place(out) or not out.is_file():
        return True
    with out.open("rb") as file:
        begin = file.read(4096)
    return not begin or GENERATOR in begin
