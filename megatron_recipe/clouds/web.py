"""Requests to the API of a cloud: time-outs, retries with pauses that grow, and errors that say what to do.

`httpx2` and not the clouds' own Python clients, for reasons named where each API is used.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from megatron_recipe.clouds.secrets import Secret, redact
from megatron_recipe.errors import ConfigError, MachineError

ATTEMPTS = 5
TIMEOUT_SECONDS = 30.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
TOO_MANY, SERVER_FAULTS = 429, 500
LOCAL = ("127.0.0.1", "localhost", "::1")


class CloudError(MachineError):
    """The cloud refused a request, or could not be reached.

    Args:
        status: of HTTP; 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def base_address(variable: str, usual: str, environment: Mapping[str, str] = os.environ) -> str:
    """The address of an API: `usual`, or what the variable holds. Raises ConfigError where a key would be readable."""
    address = (environment.get(variable) or usual).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        raise ConfigError(f"{variable}={address}: must begin with https://, since a key is sent there")
    return address


@dataclass
class Web:
    """One API of one account. `sleep` and `pause_seconds` are for tests, which have no time.

    Args:
        authorization: makes the header from the key, which the services do differently.
    """

    cloud: str
    address: str
    key: Secret
    authorization: Callable[[str], str]
    where_keys_are: str
    sleep: Callable[[float], None] = time.sleep
    timeout_seconds: float = TIMEOUT_SECONDS
    pause_seconds: float = FIRST_PAUSE_SECONDS
    _client: Any = field(default=None, repr=False)

    def request(
        self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None, *, again: bool = True
    ) -> Any:
        """The JSON of an answer (None where it is empty). Raises CloudError.

        again: repeat after a fault. False for what must not be done twice; 429 is repeated also then, since the
        service has done nothing.
        """
        pause = self.pause_seconds
        for attempt in range(1, ATTEMPTS + 1):
            status, answer, wait = self._try(method, path, body, query)
            if 0 < status < 400:
                return answer
            passing = status == TOO_MANY or (again and (status == 0 or status >= SERVER_FAULTS))
            if not passing or attempt == ATTEMPTS:
                break
            self.sleep(min(max(pause, wait), LONGEST_PAUSE_SECONDS))
            pause *= 2
        raise self._error(method, path, status, answer)

    def lines(self, path: str, query: Mapping[str, Any], headers: Mapping[str, str], quiet: float) -> Iterator[str]:
        """Lines of an answer that does not end; it is taken to have ended after `quiet` seconds without a line."""
        import httpx2

        timeout = httpx2.Timeout(self.timeout_seconds, read=quiet)
        try:
            with self._http().stream(
                "GET", self.address + path, params=dict(query), headers={**self._headers(), **headers}, timeout=timeout
            ) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise self._error("GET", path, answer.status_code, _json(answer))
                yield from answer.iter_lines()
        except httpx2.ReadTimeout:
            return
        except httpx2.TransportError as error:
            raise self._error("GET", path, 0, type(error).__name__) from None

    def _http(self) -> Any:
        import logging

        import httpx2

        if self._client is None:
            for library in ("httpx2", "httpcore2"):  # at INFO they name each address
                logging.getLogger(library).setLevel(logging.WARNING)
            self._client = httpx2.Client(timeout=self.timeout_seconds)
        return self._client

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self.authorization(self.key.reveal())}

    def _try(self, method: str, path: str, body: Any, query: Mapping[str, Any] | None) -> tuple[int, Any, float]:
        """Status (0 without an answer), the answer or what went wrong, and the pause that the service asks for."""
        import httpx2

        try:
            answer = self._http().request(
                method, self.address + path, json=body, params=dict(query or {}), headers=self._headers()
            )
        except httpx2.TimeoutException:
            return 0, f"no answer within {self.timeout_seconds:g} s", 0.0
        except httpx2.TransportError as error:
            return 0, type(error).__name__, 0.0
        wait = answer.headers.get("retry-after", "")
        return answer.status_code, _json(answer), float(wait) if wait.isdigit() else 0.0

    def _error(self, method: str, path: str, status: int, answer: Any) -> CloudError:
        said = answer
        if isinstance(answer, dict):
            inner = answer["error"] if isinstance(answer.get("error"), dict) else answer  # Lambda's are in `error`
            told = [inner.get("detail") or inner.get("msg") or inner.get("message") or inner.get("title")]
            told += answer.get("errors") or []
            said = "; ".join(str(part) for part in told if part)
        said = redact(" ".join(str(said or "nothing").split()), os.environ, self.key)[:400]
        if status == 401:
            text = f"{self.cloud} does not take the key in {self.key.name}; make a new one: {self.where_keys_are}"
        elif status == 403:
            text = (
                f"{self.cloud}: the key in {self.key.name} may not do this ({said}); give it that right, or make "
                f"another: {self.where_keys_are}"
            )
        elif status == 402:
            text = f"{self.cloud}: the balance is too low ({said}); top it up"
        elif status == TOO_MANY:
            text = f"{self.cloud} had too many requests and still says so after {ATTEMPTS} attempts; wait some minutes"
        elif status == 0 or status >= SERVER_FAULTS:
            code = f"answered {status}" if status else "did not answer"
            text = f"{self.cloud} {code} ({method} {path}: {said}); try again later, or look at its status page"
        else:
            text = f"{self.cloud} refused {method} {path} ({status}): {said}"
        return CloudError(text, status)


def _json(answer: Any) -> Any:
    try:
        return answer.json() if answer.content else None
    except ValueError:
        return answer.text
