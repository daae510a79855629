"""What W&B and SwanLab need before a run begins: their packages and, to upload, a key."""

import netrc
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from megatron_recipe.config import Config
from megatron_recipe.errors import MachineError

WANDB_ADDRESS = "https://api.wandb.ai"


INSTALLING = {
    "wandb": "pip install 'megatron-recipe[tracking]'",
    # its requirements lower protobuf beyond what sentencepiece's own files, and so exports, can be read with
    "swanlab": "pip install swanlab==0.10.3 && pip install protobuf==7.36.2",
}


def wandb_address(environment: Mapping[str, str]) -> str:
    """Where W&B answers: its own service, or the server named by WANDB_BASE_URL."""
    return environment.get("WANDB_BASE_URL", WANDB_ADDRESS).rstrip("/")


def check_packages(config: Config) -> None:
    """Raise MachineError for a logger that is asked for and not installed."""
    for package in ("wandb", "swanlab"):
        value = getattr(config.logging, package)
        if value != "off" and find_spec(package) is None:
            raise MachineError(
                f"logging.{package}={value} needs the package {package}, which is not installed; "
                f"run: {INSTALLING[package]}, or set logging.{package}=off"
            )


def logging_problems(config: Config, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Rules of the logging section that span fields or the environment; each message has field, value, rule, remedy."""
    logging = config.logging
    if logging.wandb == "online" and not has_wandb_key(environment):
        yield (
            "logging.wandb=online needs a key, and neither WANDB_API_KEY nor ~/.netrc holds one; "
            "export WANDB_API_KEY=…, or use logging.wandb=offline and upload later"
        )
    if logging.swanlab == "cloud" and not environment.get("SWANLAB_API_KEY"):
        yield (
            "logging.swanlab=cloud needs a key, and SWANLAB_API_KEY is not set; "
            "export SWANLAB_API_KEY=…, or use logging.swanlab=local"
        )
    if logging.histograms_every_steps and not logging.tensorboard:
        yield (
            f"logging.histograms_every_steps={logging.histograms_every_steps} needs logging.tensorboard=true, "
            "where histograms go; turn it on, or set histograms_every_steps=0"
        )
    if logging.profile_last_step < logging.profile_first_step:
        yield (
            f"logging.profile_last_step={logging.profile_last_step} must not be less than "
            f"logging.profile_first_step={logging.profile_first_step}; give both, or 0 for both"
        )
    if logging.profile_last_step and not logging.profile_first_step:
        yield (
            f"logging.profile_last_step={logging.profile_last_step} needs logging.profile_first_step, at least 1; "
            "give both, or 0 for both"
        )


def has_wandb_key(environment: Mapping[str, str]) -> bool:
    """Whether W&B would find a key, in WANDB_API_KEY or in the netrc file."""
    if environment.get("WANDB_API_KEY"):
        return True
    path = Path(environment.get("NETRC", Path(environment.get("HOME", "~")).expanduser() / ".netrc"))
    try:
        entries = netrc.netrc(str(path)).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return urlsplit(wandb_address(environment)).hostname in entries
