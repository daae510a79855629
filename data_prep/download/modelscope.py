"""ModelScope's hub (魔搭), which is near for users in China: public datasets over its API v1.

The calls are those of its own client (modelscope/hub/api.py): a listing in numbered pages, and files by path. Sets that
want an account there are not supported.
"""

from threading import Event
from typing import Any
from urllib.parse import quote

from data_prep.download.hub import RemoteFile
from data_prep.download.patience import LISTING, PASSING_STATUSES, PassingError, Patience
from megatron_recipe.errors import DataError

PAGE_SIZE = 200
BRANCH = "master"


class ModelScope:
    """The hub at `endpoint`. It names no commits in listings, so a download is of the branch as it is now."""

    name = "modelscope"

    def __init__(self, endpoint: str, patience: Patience = LISTING) -> None:
        self.endpoint = endpoint
        self.patience = patience

    def commit(self, repo: str, revision: str, stop: Event) -> str:
        """The branch: `main`, Hugging Face's default, is called master here."""
        return BRANCH if revision == "main" else revision

    def files(self, repo: str, commit: str, folder: str, stop: Event) -> list[RemoteFile]:
        """See Hub."""
        found: list[RemoteFile] = []
        page_number = 1
        while True:
            page = self._page(repo, commit, folder, page_number, stop)
            found += [
                RemoteFile(entry["Path"], int(entry["Size"]), entry.get("Sha256") or None)
                for entry in page
                if entry.get("Type") != "tree"
            ]
            if len(page) < PAGE_SIZE:
                break
            page_number += 1
        inside = [file for file in found if not folder or file.path.startswith(f"{folder}/")]
        if not inside:
            raise DataError(f"{repo} has no files in {folder or 'it'} on {self.endpoint}; try another --mirror")
        return sorted(inside, key=lambda file: file.path)

    def url(self, repo: str, commit: str, path: str) -> str:
        """See Hub."""
        return f"{self._api(repo)}?Source=SDK&Revision={quote(commit, safe='')}&FilePath={quote(path, safe='')}"

    def headers(self) -> dict[str, str]:
        """See Hub."""
        return {"User-Agent": "megatron-recipe"}

    def _api(self, repo: str) -> str:
        return f"{self.endpoint}/api/v1/datasets/{repo}/repo"

    def _page(self, repo: str, commit: str, folder: str, number: int, stop: Event) -> list[dict[str, Any]]:
        import httpx2
        from huggingface_hub import get_session

        query = f"Recursive=True&Revision={quote(commit, safe='')}&Root={quote('/' + folder)}"
        address = f"{self._api(repo)}/tree?{query}&PageNumber={number}&PageSize={PAGE_SIZE}"

        def once() -> list[dict[str, Any]]:
            try:
                answer = get_session().get(address, headers=self.headers(), timeout=30.0)
            except httpx2.TransportError as error:
                raise PassingError(f"no connection ({error or type(error).__name__})") from error
            if answer.status_code in PASSING_STATUSES:
                raise PassingError(f"HTTP {answer.status_code}", answer.headers)
            if answer.status_code != 200 or not answer.json().get("Success", True):
                message = answer.text[:200]
                raise DataError(f"{self.endpoint} answers HTTP {answer.status_code} for {repo} {folder}: {message}")
            data = answer.json().get("Data") or {}
            return data.get("Files") or []

        return self.patience.call(once, f"{self.endpoint}, listing {repo}", stop)
