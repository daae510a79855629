"""What a download needs of a hub, and which hub a command's --mirror means."""

import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from threading import Event
from typing import Protocol

from data_prep.sources.hub_dataset import HubDataset
from megatron_recipe.errors import ConfigError, DataError

HUGGING_FACE = "https://huggingface.co"
MODELSCOPE = "https://modelscope.cn"
MIRRORS = {"hf-mirror": "https://hf-mirror.com", "huggingface": HUGGING_FACE}
"""Sites that speak Hugging Face's API, by the names that --mirror takes; any other of them by its address."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on a hub, as its listing describes it."""

    path: str
    """In the repository, and below the folder that it is downloaded to."""
    bytes: int
    sha256: str | None = None
    git_sha1: str | None = None
    """Git's own checksum, where the hub gives no SHA-256 (small files that are not in LFS)."""

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        if not parts or self.path.startswith("/") or ".." in parts:
            raise DataError(f"the hub lists a file {self.path!r}, outside the folder; it is not fetched")


class Hub(Protocol):
    """One hub and the account on it."""

    name: str
    endpoint: str

    def commit(self, repo: str, revision: str, stop: Event) -> str:
        """The commit that a branch, tag or commit means now."""
        ...

    def files(self, repo: str, commit: str, folder: str, stop: Event) -> list[RemoteFile]:
        """All files below `folder`, by path.

        Raises:
            DataError: no such repository or folder.
            ConfigError: its terms are not accepted, or the token is missing or wrong.
            MachineError: the hub does not answer.
        """
        ...

    def url(self, repo: str, commit: str, path: str) -> str:
        """Where a file's bytes are."""
        ...

    def headers(self) -> dict[str, str]:
        """What each request carries."""
        ...


@dataclass(frozen=True)
class Origin:
    """A repository at a commit of a hub."""

    hub: Hub
    repo: str
    commit: str

    def url(self, file: RemoteFile) -> str:
        """Where the file's bytes are."""
        return self.hub.url(self.repo, self.commit, file.path)


def open_hub(mirror: str | None, token: str | None, is_gated: bool) -> Hub:
    """The hub that `--mirror` names: by default HF_ENDPOINT, or huggingface.co.

    A token goes to a mirror only for a gated set, which cannot be had without: the mirror's owner could read it.

    Raises:
        ConfigError: an unknown name.
    """
    from data_prep.download.huggingface import HuggingFace
    from data_prep.download.modelscope import ModelScope

    mirror = mirror or os.environ.get("HF_ENDPOINT") or HUGGING_FACE
    if mirror == "modelscope" or mirror.startswith(("https://modelscope.cn", "https://www.modelscope.cn")):
        return ModelScope(MODELSCOPE)
    if mirror.startswith("modelscope+"):  # another address that speaks ModelScope's API
        return ModelScope(mirror.removeprefix("modelscope+").rstrip("/"))
    endpoint = MIRRORS.get(mirror, mirror).rstrip("/")
    if not endpoint.startswith(("https://", "http://")):
        raise ConfigError(f"--mirror {mirror}: give {', '.join(MIRRORS)}, modelscope, or an address (https://…)")
    may_send = endpoint == HUGGING_FACE or is_gated
    return HuggingFace(endpoint, token if may_send else False)


def repo_on(hub: Hub, dataset: HubDataset) -> str:
    """The dataset's repository there.

    Raises:
        ConfigError: the hub has none, or none can be fetched without its web page.
    """
    repo = dataset.modelscope if hub.name == "modelscope" else dataset.huggingface
    if repo is None:
        raise ConfigError(
            f"{dataset.name}: no copy on {hub.name} is known; leave --mirror out, or take hf-mirror "
            "(a copy of Hugging Face that is reached from China)"
        )
    return repo
