"""What should be settled before a run is started and paid for. Run: megatron-recipe doctor --checklist RECIPE

It takes the options of `train`, reads the same configuration, and answers without torch. Each row is a Check as the
doctor's own: `fail` would end the run or lose it, `warn` is a choice that is often regretted.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts, read_dataset_facts
from megatron_recipe.doctor.check import Check, Status
from megatron_recipe.doctor.checklist_words import Words
from megatron_recipe.doctor.gpu import asked_processes, installed_gpus, usable_gpus
from megatron_recipe.doctor.network import wandb_has_key
from megatron_recipe.doctor.software import MINIMUM_DRIVER
from megatron_recipe.errors import RecipeError
from megatron_recipe.files import existing_part, sha256_file
from megatron_recipe.languages import require_language
from megatron_recipe.mix import corpus_paths
from megatron_recipe.plan.disk import estimate_disk
from megatron_recipe.recipes import load_config, one_of
from megatron_recipe.train_command import check_without_torch, default_run_dir, with_steps_of_budget

IMAGES = {"12": "ngc-cuda12, slim-cuda12", "13": "ngc, slim"}
"""CUDA major version → variants of launch/images.json."""
GOES_WITH_THE_CONTAINER = ("overlay", "tmpfs", "aufs")
OUTLIVES = (("TMUX", "tmux"), ("STY", "screen"), ("SLURM_JOB_ID", "Slurm"))
"""Environment variable and name of what keeps a run alive when the connection breaks."""


class Rows:
    """Builds the rows in one language."""

    def __init__(self, lang: str) -> None:
        require_language(lang)
        self.words = Words(lang)

    def row(self, name: str, key: str, status: Status = "ok", /, **values: object) -> Check:
        """A row of topic `name` (the part of the key before the dot) with its fix where it is not ok."""
        topic = key.partition(".")[0]
        fix = self.words(f"{topic}.fix", **values) if status != "ok" else ""
        return Check(name or self.words(topic), status, self.words(key, **values), fix)


def checklist_of(
    recipe: str | None, config_file: Path | None, overrides: tuple[str, ...], run_dir: Path | None, lang: str
) -> list[Check]:
    """All rows for this start.

    Raises:
        ConfigError: neither a recipe nor a config, both, an unknown language, or a recipe that cannot be read.
    """
    rows = Rows(lang)
    config = with_steps_of_budget(load_config(one_of("doctor --checklist", recipe, config_file), overrides))
    folder = run_dir or default_run_dir(recipe, config_file)
    return [
        machine_row(rows),
        image_row(rows),
        processes_row(rows),
        recipe_row(rows, config),
        *data_rows(rows, config),
        *folder_rows(rows, config, folder),
        saves_row(rows, config),
        *money_rows(rows, config),
        session_row(rows),
        wandb_row(rows, config),
        messages_row(rows),
    ]


def machine_row(rows: Rows) -> Check:
    """The doctor's own checks, in one row."""
    from megatron_recipe.doctor import CHECKS, run_doctor

    failed = [check.name for check in run_doctor(CHECKS) if check.status == "fail"]
    if failed:
        return rows.row("", "machine.failed", "fail", names=", ".join(failed))
    return rows.row("", "machine.ok", count=len(CHECKS))


def image_row(rows: Rows) -> Check:
    """Which of our images the driver runs: CUDA 13 needs a newer one than CUDA 12."""
    gpus = installed_gpus()
    if not gpus:
        return rows.row("", "image.no_gpu")
    branch = int(gpus[0].driver.split(".")[0])
    fitting = [f"{version} ({variants})" for version, variants in IMAGES.items() if MINIMUM_DRIVER[version] <= branch]
    if not fitting:
        return rows.row("", "image.none", "fail", driver=gpus[0].driver, needed=MINIMUM_DRIVER[min(IMAGES)])
    return rows.row("", "image.found", driver=gpus[0].driver, versions=", ".join(fitting))


def processes_row(rows: Rows) -> Check:
    """As many processes as GPUs."""
    gpus = usable_gpus()
    processes = processes_of(gpus)
    return rows.row("", "gpus.found", "warn" if gpus > processes else "ok", gpus=gpus, processes=processes)


def processes_of(gpus: int) -> int:
    """Those that a start here makes: torchrun makes one unless told otherwise."""
    return asked_processes(gpus) or 1


def recipe_row(rows: Rows, config: Config) -> Check:
    """The rules that hold across sections, as the start of a run checks them."""
    try:
        check_without_torch(config)
    except RecipeError as error:
        return Check(rows.words("recipe"), "fail", " ".join(str(error).split())[:300], rows.words("recipe.fix"))
    return Check(rows.words("recipe"), "ok", f"{config.train.steps:,} × {config.batch.global_batch_size_samples}")


def data_rows(rows: Rows, config: Config) -> Iterator[Check]:
    """Each dataset whole as far as a look tells, and one tokenizer for all."""
    facts: list[DatasetFacts] = []
    for path in dict.fromkeys(corpus_paths(config)):
        name = rows.words("dataset", name=path)
        try:
            fact = read_dataset_facts(Path(path))
        except RecipeError as error:
            yield Check(name, "fail", " ".join(str(error).split())[:200], rows.words("dataset.fix"))
            continue
        problem = dataset_problem(rows, fact)
        if problem:
            yield Check(name, "fail", problem, rows.words("dataset.fix"))
        else:
            yield rows.row(name, "dataset.ok", tokens=f"{fact.tokens('train'):,}")
        facts.append(fact)
    if facts:
        yield tokenizer_row(rows, facts)


def dataset_problem(rows: Rows, fact: DatasetFacts) -> str:
    """What the small files of a dataset say against it; "" where nothing. Sizes were looked at when it was read."""
    for name in fact.splits:
        index = fact.prefix(name).with_suffix(".idx")
        if sha256_file(index) != fact.idx_sha256(name):
            return rows.words("dataset.checksum", file=index)
    return ""


def tokenizer_row(rows: Rows, facts: list[DatasetFacts]) -> Check:
    """The tokenizer's file is the manifest's, and the same for all."""
    for fact in facts:
        files = sorted((fact.folder / "tokenizer").glob("tokenizer.*"))
        if all(sha256_file(file) != fact.tokenizer_sha256 for file in files):
            return rows.row("", "tokenizer.damaged", "fail", file=fact.folder / "tokenizer")
    if len({fact.tokenizer_sha256 for fact in facts}) > 1:
        return rows.row("", "tokenizer.differ", "fail")
    first = facts[0]
    return rows.row("", "tokenizer.ok", vocabulary=f"{first.vocab_size:,}", fingerprint=first.tokenizer_sha256[:12])


def folder_rows(rows: Rows, config: Config, folder: Path) -> Iterator[Check]:
    """The run folder: new or continued, writable, on a disk that stays and has room."""
    existing = existing_part(folder.absolute())
    newest = folder / "checkpoints/latest"
    if not os.access(existing, os.W_OK):
        yield rows.row("", "run.closed", "fail", folder=folder)
    elif newest.is_file() or newest.is_symlink():
        name = newest.readlink().name if newest.is_symlink() else newest.read_text(encoding="utf-8").strip()
        yield rows.row("", "run.continues", folder=folder, checkpoint=name)
    else:
        yield rows.row("", "run.no_checkpoint" if (folder / "config.yaml").is_file() else "run.new", folder=folder)
    mount, kind = mount_of(existing)
    gone = kind in GOES_WITH_THE_CONTAINER
    yield rows.row("", "volume.gone" if gone else "volume.ok", "warn" if gone else "ok", mount=mount, kind=kind)
    free = shutil.disk_usage(existing).free
    vocabulary = config.model.vocab_size or 32_000
    needed = estimate_disk(config, vocabulary, processes_of(usable_gpus()), tokens=0).checkpoints
    status: Status = "fail" if free < needed else "ok"
    yield rows.row("", "disk.found", status, free=f"{free / 1e9:.0f}", needed=f"{needed / 1e9:.1f}")


def mount_of(path: Path, mounts: Path = Path("/proc/mounts")) -> tuple[str, str]:
    """Mount point and kind of the file system that holds `path`, from a table in the form of /proc/mounts."""
    lines = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    holding = [(place, kind) for _, place, kind, *_ in lines if path.resolve().is_relative_to(place)]
    return max(reversed(holding), key=lambda entry: len(entry[0]), default=("/", "?"))


def saves_row(rows: Rows, config: Config) -> Check:
    """How much a lost machine would take back."""
    saves = config.checkpoint
    if saves.save_every_minutes:
        return rows.row("", "saves.minutes", minutes=f"{saves.save_every_minutes:g}")
    if saves.save_every_steps:
        return rows.row("", "saves.steps", steps=saves.save_every_steps)
    return rows.row("", "saves.none", "warn")


def money_rows(rows: Rows, config: Config) -> Iterator[Check]:
    """Price, budget, and what becomes of the machine; on a machine without a GPU they matter to nobody."""
    budget, rented = config.budget, bool(installed_gpus())
    unset: Status = "warn" if rented else "ok"
    if budget.price_per_hour:
        yield rows.row("", "price.found", price=f"{budget.price_per_hour:g}", currency=budget.currency)
    else:
        yield rows.row("", "price.none", unset)
    if budget.amount:
        yield rows.row("", "budget.found", amount=f"{budget.amount:g}", unit=budget.unit)
    else:
        yield rows.row("", "budget.none", unset, steps=f"{config.train.steps:,}")
    stays = rented and budget.at_end == "nothing"
    yield rows.row("", "shut_down.found", "warn" if stays else "ok", what=budget.at_end)


def session_row(rows: Rows) -> Check:
    """Whether what is started here outlives the connection: tmux, screen, a batch system, nohup."""
    holders = [name for variable, name in OUTLIVES if os.environ.get(variable)]
    if not holders and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        holders = ["nohup"]
    if holders:
        return rows.row("", "session.found", what=holders[0])
    return rows.row("", "session.none", "warn" if os.isatty(0) else "ok")


def wandb_row(rows: Rows, config: Config) -> Check:
    """W&B's mode, and its key where it is needed."""
    mode = config.logging.wandb
    if mode != "online":
        return rows.row("", f"wandb.{mode}")
    has_key = wandb_has_key()
    key = rows.words("wandb.key" if has_key else "wandb.no_key")
    return rows.row("", "wandb.online", "ok" if has_key else "fail", key=key)


def messages_row(rows: Rows) -> Check:
    """Whether anybody hears of a stop."""
    if os.environ.get("MEGATRON_RECIPE_WEBHOOK", "").strip():
        return rows.row("", "messages.set")
    return rows.row("", "messages.none", "warn" if installed_gpus() else "ok")
