"""A chat service on 127.0.0.1 that keeps what it is sent, and has the faults it is told to have."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Service:
    """Use as a context manager; `address` leads to `path`.

    Each request meets the next of `answers`, which are of status and text; the last one stays. Status "hang" waits for
    so many seconds, "cut" closes the connection.
    """

    def __init__(self, path: str) -> None:
        self.answers: list[Any] = [(200, "ok")]
        self.requests: list[tuple[str, str, Any]] = []
        self.arrived = threading.Condition()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with service.arrived:
                    service.requests.append((self.command, self.path, json.loads(body) if body else None))
                    answers = service.answers
                    status, text = answers.pop(0) if len(answers) > 1 else answers[0]
                    service.arrived.notify_all()
                if status == "hang":
                    time.sleep(text)
                    status, text = 200, "ok"
                if status == "cut":
                    self.connection.close()
                    return
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST

            def log_message(self, *arguments: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
        self.address = f"http://127.0.0.1:{self.server.server_port}{path}"

    def __enter__(self) -> "Service":
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def wait_for(self, count: int, seconds: float = 10.0) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.requests) >= count, seconds), self.requests
