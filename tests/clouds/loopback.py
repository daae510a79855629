"""A web service on 127.0.0.1 that records what it is asked, and has the faults that it is told to have."""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    authorization: str


@dataclass
class Fault:
    """The next `times` requests of this method and path are answered so. status: "hang" for `seconds`, or "lost": the
    request is done, and its answer never comes."""

    method: str
    path: str
    status: int | str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    seconds: float = 1.0


class Loopback:
    """Subclasses answer in `answer`; use as a context manager."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                parts = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                asked = Asked(
                    self.command, parts.path, dict(parse_qsl(parts.query)), json.loads(raw) if raw else None,
                    self.headers.get("authorization", ""),
                )  # fmt: skip
                status, body, headers = service.meet(asked)
                if status == "lost":
                    time.sleep(body)
                    return
                text = body if isinstance(body, str) else json.dumps(body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(text.encode())) if body is not None else "0")
                self.end_headers()
                if body is not None:
                    self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def log_message(self, *arguments: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Status and body."""
        raise NotImplementedError

    def meet(self, asked: Asked) -> tuple[Any, Any, dict[str, str]]:
        with self.lock:
            self.asked.append(asked)
            for fault in self.faults:
                if fault.times and (fault.method, fault.path) == (asked.method, asked.path):
                    fault.times -= 1
                    if fault.status == "lost":
                        self.answer(asked)
                    if fault.status in ("lost", "hang"):
                        return "lost", fault.seconds, {}
                    return fault.status, fault.body, fault.headers
            status, body = self.answer(asked)
            return status, body, {}

    def of(self, method: str, path: str) -> list[Asked]:
        return [one for one in self.asked if (one.method, one.path) == (method, path)]

    def __enter__(self) -> Any:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def without_waiting(api: Any) -> Any:
    """A client of a cloud that does not wait: its pauses are kept in `web.waited`."""
    api.web.waited = []
    api.web.sleep = api.web.waited.append
    api.web.timeout_seconds = 0.5
    return api
