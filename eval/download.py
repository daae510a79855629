"""The command `megatron-recipe eval download`: evaluation sets from their hub repositories.

They serve decontamination (a recipe's `decontaminate.against`) and `eval run`; dev splits are its worked examples.
Repositories and configurations are those of lm-eval 0.4.13's tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from data_prep.download.command import Connections, Mirror, Token
from data_prep.sources.hub_dataset import did_you_mean
from megatron_recipe.errors import ConfigError, DataError

if TYPE_CHECKING:
    from data_prep.download.download import Download
    from data_prep.download.hub import Hub, RemoteFile

SUFFIXES = (".parquet", ".jsonl", ".json", ".arrow")
CONVERTED = "refs/convert/parquet"
"""Branch on which Hugging Face keeps parquet files of sets that are published as a script, a zip or CSV."""


@dataclass(frozen=True)
class EvaluationSet:
    """One evaluation set: its repository and the parts of it that hold questions."""

    repo: str
    folders: tuple[str, ...] = ("",)
    """Configurations to take, by the folder, or the start of the file's name, below "" or data; "" takes all."""
    splits: tuple[str, ...] = ("validation", "test")
    languages: tuple[str, ...] = ("en",)


SETS: dict[str, EvaluationSet] = {
    "hellaswag": EvaluationSet("Rowan/hellaswag"),
    "arc_easy": EvaluationSet("allenai/ai2_arc", ("ARC-Easy",)),
    "arc_challenge": EvaluationSet("allenai/ai2_arc", ("ARC-Challenge",)),
    "piqa": EvaluationSet("baber/piqa"),
    "winogrande": EvaluationSet("allenai/winogrande", ("winogrande_xl",)),
    "mmlu": EvaluationSet("cais/mmlu", ("all",), ("dev", "validation", "test")),
    "lambada": EvaluationSet("EleutherAI/lambada_openai", ("default", "lambada_test_en", "lambada_test.")),
    "openbookqa": EvaluationSet("allenai/openbookqa", ("main",)),
    "boolq": EvaluationSet("aps/super_glue", ("boolq",)),
    "sciq": EvaluationSet("allenai/sciq"),
    "commonsense_qa": EvaluationSet("tau/commonsense_qa"),
    "truthfulqa": EvaluationSet("truthfulqa/truthful_qa"),
    "gsm8k": EvaluationSet("openai/gsm8k", ("main",)),
    "ceval": EvaluationSet("ceval/ceval-exam", splits=("dev", "val", "test"), languages=("zh",)),
    "cmmlu": EvaluationSet("haonan-li/cmmlu", splits=("dev", "test"), languages=("zh",)),
    "xwinograd_zh": EvaluationSet("Muennighoff/xwinograd", ("zh", "test/zh"), ("test",), ("zh",)),
}


def download(
    sets: Annotated[
        list[str] | None, typer.Argument(help="Names of sets, or all; without any, lists those known.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder that gets a folder for each set.")] = Path("evalsets"),
    mirror: Mirror = None,
    token: Token = None,
    connections: Connections = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be fetched, fetch nothing.")] = False,
) -> None:
    """Fetch evaluation sets, with checksums, for decontamination and evaluation without a network."""
    if not sets:
        for name, found in SETS.items():
            typer.echo(f"{name:<16}{'/'.join(found.languages):<4}{found.repo}")
        return
    from data_prep.download.download import download as run
    from data_prep.download.hub import open_hub
    from megatron_recipe.console import say

    names = find_sets(sets)
    hub = open_hub(mirror, token, is_gated=False)
    if hub.name != "huggingface":
        raise ConfigError(
            f"--mirror {mirror}: evaluation sets come from Hugging Face or a site that copies it (hf-mirror)"
        )
    for name in names:
        wanted = plan(name, SETS[name], hub, out / name)
        say(f"{name}: {len(wanted.files)} files, {wanted.bytes / 1e6:,.1f} MB, from {wanted.origin.repo}")
        if dry_run:
            for file in wanted.files:
                typer.echo(f"{file.bytes:>15,}  {file.path}")
        else:
            run(wanted, connections)
    if not dry_run:
        say(f"in a data recipe: decontaminate: {{against: [{', '.join(str(out / name) for name in names)}]}}")


def find_sets(names: Sequence[str]) -> list[str]:
    """The names in their order, `all` for every one.

    Raises:
        ConfigError: one is unknown.
    """
    if "all" in names:
        return list(SETS)
    for name in names:
        if name not in SETS:
            raise ConfigError(f"unknown set {name!r}; known are {', '.join(SETS)}{did_you_mean(name, list(SETS))}")
    return list(dict.fromkeys(names))


def plan(name: str, wanted: EvaluationSet, hub: "Hub", folder: Path) -> "Download":
    """The files of a set's splits, of its own branch or, where that has none that can be read, of the converted one.

    Raises:
        DataError: neither has such files.
    """
    from data_prep.download.download import Download
    from data_prep.download.hub import Origin
    from data_prep.download.record import Record, read_record, refuse_other

    commit, files = _find(wanted, hub)
    record = Record(
        dataset=name,
        hub=hub.name,
        endpoint=hub.endpoint,
        repo=wanted.repo,
        revision=commit,
        subset=", ".join(wanted.splits),
        license=f"see https://huggingface.co/datasets/{wanted.repo}",
        category="evaluation",
        languages=list(wanted.languages),
        files=[{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in files],
    )
    begun = read_record(folder)
    if begun is not None:
        refuse_other(folder, begun, record)
    return Download(Origin(hub, wanted.repo, commit), files, folder, record)


def _find(wanted: EvaluationSet, hub: "Hub") -> tuple[str, list["RemoteFile"]]:
    stop = Event()
    for branch in ("main", CONVERTED):
        try:
            commit = hub.commit(wanted.repo, branch, stop)
        except DataError:
            if branch == "main":
                raise
            break
        files = [file for file in hub.files(wanted.repo, commit, "", stop) if _is_part(file.path, wanted)]
        if files:
            return commit, files
    raise DataError(
        f"{wanted.repo} has no {', '.join(SUFFIXES)} files of {', '.join(wanted.splits)}, nor a converted copy; see "
        f"https://huggingface.co/datasets/{wanted.repo}, and put files of your own into decontaminate.against"
    )


def _is_part(path: str, wanted: EvaluationSet) -> bool:
    """Whether a file belongs to the set: splits are named by its folder (`test/0000.parquet`) or in its name."""
    if not path.endswith(SUFFIXES):
        return False
    words = {word for part in PurePosixPath(path).parts for word in part.replace(".", "-").replace("_", "-").split("-")}
    in_folder = path.removeprefix("data/").startswith(wanted.folders)
    return in_folder and any(split in words for split in wanted.splits)
