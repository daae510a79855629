"""Writes the report's files."""

from pathlib import Path

from data_prep.report.content import build_report
from data_prep.report.inputs import find_corpus
from data_prep.report.page import render_page
from megatron_recipe.console import say
from megatron_recipe.errors import ConfigError
from megatron_recipe.files import atomic_file, write_json
from megatron_recipe.languages import require_language

MIN_SAMPLE = 30
"""From about here on a mean is spread normally enough for its interval to hold."""


def write_report(
    paths: list[Path],
    *,
    out: Path | None = None,
    lang: str = "en",
    json: Path | None = None,
    sample: int = 10_000,
    seed: int = 0,
    tokenizer: Path | None = None,
    work: Path | None = None,
    dry_run: bool = False,
) -> Path:
    """Write the page to `out` (default: report.html in the folder given, else in the current one); return its path.

    Raises:
        ConfigError: an unknown language, or an output that is a folder.
        DataError: a path that cannot be read or holds a damaged file.
    """
    require_language(lang)
    for option, file in (("--out", out), ("--json", json)):
        if file is not None and file.is_dir():
            raise ConfigError(f"{option}={file} is a folder, but a report is one file; try {file / 'report'}")
    if 0 < sample < MIN_SAMPLE:
        raise ConfigError(f"--sample={sample}: intervals need {MIN_SAMPLE} documents or more; 0 measures all")
    corpus = find_corpus(paths, work)
    target = out or (Path("report.html") if corpus.kind == "files" else paths[0] / "report.html")
    if dry_run:
        say(f"finished stages: {', '.join(corpus.stages) or 'none'}")
        for population in corpus.populations:
            say(f"measure {sample or 'all'} documents {population.name} the stages, of {len(population.parts):,} files")
        say(f"would write {target}")
        return target
    content = build_report(corpus, sample, seed, tokenizer)
    if json is not None:
        write_json(json, content)
        say(f"numbers: {json}")
    with atomic_file(target) as page:
        page.write(render_page(content, lang))
    say(f"report: {target} ({target.stat().st_size / 1e3:,.0f} kB)")
    return target
