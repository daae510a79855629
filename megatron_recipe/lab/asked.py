"""What `lab compare` was asked for on its command line. Without imports, so that help answers at once."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """The options of `lab compare`; None and empty leave what the comparison's file says."""

    name: str
    """Of a ready comparison, or a YAML file."""
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    """As `section.field=value`, for all settings."""
    dataset: str | None = None
    """Folder of the one dataset of all settings."""
    data: tuple[str, ...] = ()
    """Sources of a data mix, as NAME=FOLDER."""
    mixes: tuple[str, ...] = ()
    """Mixes of them, as NAME:SHARE,NAME:SHARE."""
    seeds: str | None = None
    """As 1,2,3."""
    tokens: float | None = None
    """Of each run."""
    confidence: float | None = None
    target_loss: float | None = None
    price: str | None = None
    """Of the whole machine, as for `train`."""
    out: Path | None = None
    jobs: int | None = None
    """Runs at a time on the CPU."""
    gpus: int | None = None
    """GPUs to use, one a run; 0 is the CPU."""
    slurm: bool = False
    sbatch: tuple[str, ...] = field(default=())
    """Options for sbatch."""
    only: int | None = None
    """Number of the one run to do, from 0."""
    lang: str = "en"
    dry_run: bool = False
