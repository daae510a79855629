"""The command `megatron-recipe data tokenizers`."""

import math
from pathlib import Path
from typing import Annotated

import typer


def tokenizers(
    texts: Annotated[
        list[str], typer.Argument(metavar="NAME=FILE...", help="Text by language or source: en=en.jsonl.")
    ],
    size: Annotated[list[int] | None, typer.Option(help="Vocabulary to train; may be repeated.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="sentencepiece-bpe, sentencepiece-unigram, byte-level-bpe or wordpiece; may be repeated."),
    ] = None,
    existing: Annotated[list[Path] | None, typer.Option(help="Also compare this .model or tokenizer.json.")] = None,
    weight: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SHARE", help="Share of the training mix. Default: all alike.")
    ] = None,
    training_mb: Annotated[float, typer.Option(help="Text to train on, in MB (10^6 bytes).")] = 50.0,
    out: Annotated[Path, typer.Option(help="Folder for the trained tokenizers and the report.")] = Path("lab"),
    lang: Annotated[str, typer.Option(help="Words of the recommendation: en or zh.")] = "en",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, train nothing.")] = False,
) -> None:
    """Train tokenizers and compare them, and existing ones, on held-out text; recommends one, with the reason."""
    from data_prep.tokenizer_lab.compare import measure_candidate, train_candidates
    from data_prep.tokenizer_lab.page import render_page
    from data_prep.tokenizer_lab.request import make_request
    from data_prep.tokenizer_lab.results import recommend, table, write_results
    from data_prep.tokenizer_lab.texts import read_texts
    from data_prep.tokenizers.load import load_reference
    from megatron_recipe.console import say
    from megatron_recipe.errors import ConfigError
    from megatron_recipe.files import atomic_file
    from megatron_recipe.languages import require_language

    require_language(lang)
    if not 0 < training_mb < math.inf:
        raise ConfigError(f"--training-mb {training_mb:g}: must be above 0, and a number; 50 is usual")
    request = make_request(texts, weight or [], kind or [], size or [], existing or [])
    for path in request.existing:
        load_reference(path)  # answered here, and not after the training of the others
    if dry_run:
        say(
            f"train {', '.join(request.kinds)} at {', '.join(map(str, request.sizes))}; compare {len(request.existing)}"
        )
        return
    read = read_texts(request, int(training_mb * 1e6))
    measured = [measure_candidate(candidate, request, read) for candidate in train_candidates(request, read, out)]
    for line in table(measured):
        typer.echo(line)
    words = recommend(measured, request.shares, lang)
    typer.echo(f"\n{words}")
    results = write_results(out / "results.json", measured, request, read, words)
    with atomic_file(out / "report.html") as file:
        file.write(render_page(results, lang))
    say(f"{out / 'report.html'}, results.json; use one with: megatron-recipe data prepare SOURCE --tokenizer {out}/…")
