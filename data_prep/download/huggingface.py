"""Hugging Face's hub and sites that speak its API (hf-mirror.com): listing, commits, addresses, accounts.

All of that is huggingface_hub's. Its transfer is not used: `hf_hub_download` compares lengths but no content, takes a
file for good once it has noted it, does not repeat after a 5xx, and by default goes through Xet, whose servers
mirrors don't carry (padeoe/hf-mirror-site#50). data_prep.download.transfer fetches over plain HTTP, which hub and
mirrors all serve, so HF_HUB_DISABLE_XET has nothing left to switch off.
"""

from collections.abc import Callable
from threading import Event
from typing import Any

from data_prep.download.hub import RemoteFile
from data_prep.download.patience import LISTING, PASSING_STATUSES, PassingError, Patience
from megatron_recipe.errors import ConfigError, DataError

TIMEOUT_SECONDS = 30.0


class HuggingFace:
    """A hub at `endpoint`; `token` None takes that of `hf auth login` or HF_TOKEN, False none."""

    name = "huggingface"

    def __init__(self, endpoint: str, token: str | bool | None, patience: Patience = LISTING) -> None:
        from huggingface_hub import HfApi, logging

        logging.set_verbosity_error()  # its warnings of retries would cut through the progress line
        self.endpoint = endpoint
        self.api = HfApi(endpoint=endpoint, token=token)
        self.patience = patience

    def commit(self, repo: str, revision: str, stop: Event) -> str:
        """See Hub."""

        def ask() -> str:
            found = self.api.dataset_info(repo, revision=revision, expand=["sha"], timeout=TIMEOUT_SECONDS)
            return str(found.sha)

        return self._ask(ask, repo, "", revision, stop)

    def files(self, repo: str, commit: str, folder: str, stop: Event) -> list[RemoteFile]:
        """See Hub."""
        from huggingface_hub.hf_api import RepoFile

        def ask() -> list[RemoteFile]:
            tree = self.api.list_repo_tree(repo, folder or None, recursive=True, revision=commit, repo_type="dataset")
            files = (entry for entry in tree if isinstance(entry, RepoFile))
            return [
                RemoteFile(file.path, file.size, file.lfs.sha256 if file.lfs else None, file.blob_id) for file in files
            ]

        # by path, which is the hub's order although it does not promise one: each run must choose the same files
        return sorted(self._ask(ask, repo, folder, commit, stop), key=lambda file: file.path)

    def url(self, repo: str, commit: str, path: str) -> str:
        """See Hub."""
        from urllib.parse import quote

        return f"{self.endpoint}/datasets/{repo}/resolve/{quote(commit, safe='')}/{quote(path)}"

    def headers(self) -> dict[str, str]:
        """See Hub."""
        from huggingface_hub.utils import build_hf_headers

        return dict(build_hf_headers(token=self.api.token))

    def _ask[T](self, request: Callable[[], T], repo: str, folder: str, revision: str, stop: Event) -> T:
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError

        def once() -> T:
            try:
                return request()
            except HfHubHTTPError as error:
                if error.response.status_code in PASSING_STATUSES:
                    raise PassingError(f"HTTP {error.response.status_code}", error.response.headers) from error
                raise refusal(error.response, self.endpoint, repo, folder, revision) from error
            except httpx2.TransportError as error:
                raise PassingError(f"no connection ({error or type(error).__name__})") from error

        return self.patience.call(once, f"{self.endpoint}, listing {repo}", stop)


def refusal(response: Any, endpoint: str, repo: str, path: str, revision: str) -> ConfigError | DataError:
    """What a 4xx of the hub means to the user, by its X-Error-Code where it sends one."""
    code, status = response.headers.get("x-error-code", ""), response.status_code
    page = f"https://huggingface.co/datasets/{repo}"
    sent_token = "authorization" in response.request.headers
    if code == "GatedRepo" or (status == 403 and sent_token):
        return ConfigError(
            f"{repo} is gated: log in and accept its terms at {page}, then give a token of that account with --token, "
            "HF_TOKEN or `hf auth login` (make one at https://huggingface.co/settings/tokens, kind: read)"
            + ("; the token that was sent has no access yet" if sent_token else "")
        )
    if status in (401, 403):
        what = "refuses the token: it is wrong or expired" if sent_token else "wants a token, or has no such repository"
        return ConfigError(
            f"{endpoint} {what} (HTTP {status} for {repo}); see {page}, then give one with --token, HF_TOKEN or "
            "`hf auth login`"
        )
    if code == "RevisionNotFound":
        return DataError(f"{repo} has no revision {revision!r} on {endpoint}; see {page}/commits/main, or leave it out")
    if code == "EntryNotFound":
        return DataError(f"{repo} has no {path!r} at {revision} on {endpoint}; see {page}/tree/main for its folders")
    return DataError(f"{endpoint} answers HTTP {status} for {path or repo}; see {page}, or try another --mirror")
