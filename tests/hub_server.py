"""A hub on 127.0.0.1 that speaks Hugging Face's file API and ModelScope's, and has the faults it is told to have."""

import hashlib
import json
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

COMMIT = "1234567890abcdef1234567890abcdef12345678"
PAGE = 3
"""Entries of a listing's page, few so that listings have several."""


def content(seed: int, size: int) -> bytes:
    """`size` bytes that differ with `seed`."""
    block = b"".join(hashlib.sha256(f"{seed} {i}".encode()).digest() for i in range(min(size, 4096) // 32 + 1))
    return (block * (size // len(block) + 1))[:size]


class FakeHub:
    """Repositories by name, each a dict of contents by path. Use as a context manager.

    `faults[path]` are met by the next requests for that file's bytes, one each: cut, short, long, other, busy, error,
    range, no-range; `delay_seconds` slows every 64 KiB.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, dict[str, dict[str, bytes]]] = {}
        """Other branches: repositories by the branch's name, which is its commit too."""
        self.gated: set[str] = set()
        self.token = "hf_right"
        self.commit = COMMIT
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.listing_faults: list[int] = []
        self.delay_seconds = 0.0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.sent: dict[str, int] = defaultdict(int)
        self.lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            fake = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *arguments: None  # clients are killed on purpose
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.cdn = f"http://localhost:{self.server.server_port}"  # another host, as on the real hub

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def asked(self, part: str) -> list[dict[str, str]]:
        """Headers of the requests whose path holds `part`."""
        return [headers for path, headers in self.requests if part in path]

    def files(self, repo: str, revision: str) -> dict[str, bytes]:
        return self.branches.get(revision, self.repos).get(repo, {})

    def next_fault(self, path: str) -> str:
        with self.lock:
            return self.faults[path].pop(0) if self.faults[path] else ""


def entry(path: str, data: bytes) -> dict:
    """A file as the tree API lists it; small text files are not in LFS."""
    git = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    listed = {"type": "file", "oid": git, "size": len(data), "path": path}
    if not path.endswith((".md", ".small.jsonl")):
        listed["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        listed["xetHash"] = "0" * 64
    return listed


class _Handler(BaseHTTPRequestHandler):
    fake: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        with self.fake.lock:
            self.fake.requests.append((unquote(self.path), {k.lower(): v for k, v in self.headers.items()}))
        parts = [unquote(part) for part in url.path.split("/") if part]
        if parts[:3] == ["api", "v1", "datasets"]:
            self.modelscope("/".join(parts[3:5]), parts[5:], query)
        elif parts[:2] == ["api", "datasets"]:
            self.listing("/".join(parts[2:4]), parts[4:], query)
        elif parts[0] == "datasets":
            self.resolve("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        else:
            self.cdn("/".join(parts[2:4]), parts[1], "/".join(parts[4:]))

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def json(self, value: object, **headers: str) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def refused(self, repo: str) -> bool:
        if repo not in self.fake.repos:
            self.answer(401, X_Error_Code="RepoNotFound")
            return True
        sent = self.headers.get("Authorization")
        if sent and sent != f"Bearer {self.fake.token}":
            self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
            return True
        if repo in self.fake.gated and not sent:
            self.answer(401, X_Error_Code="GatedRepo")
            return True
        return False

    def listing(self, repo: str, rest: list[str], query: dict[str, str]) -> None:
        if self.fake.listing_faults:
            return self.answer(self.fake.listing_faults.pop(0), Retry_After="0")
        if repo not in self.fake.repos:
            return self.answer(401, X_Error_Code="RepoNotFound")
        if rest[:1] != ["tree"]:
            name = rest[1] if rest[1:] else "main"
            if name not in ("main", self.fake.commit, *self.fake.branches):
                return self.answer(404, X_Error_Code="RevisionNotFound")
            return self.json({"id": repo, "_id": "1", "sha": self.fake.commit if name == "main" else name})
        folder = "/".join(rest[2:])
        stored = self.fake.files(repo, rest[1])
        files = [entry(p, d) for p, d in stored.items() if not folder or p.startswith(f"{folder}/")]
        if folder and not files:
            return self.answer(404, X_Error_Code="EntryNotFound")
        start = int(query.get("cursor", 0))
        headers = {}
        if start + PAGE < len(files):
            plain = self.path.split("?")[0]
            link = f"{self.fake.address}{plain}?recursive=True&cursor={start + PAGE}"
            headers["Link"] = f'<{link}>; rel="next"'
        return self.json([{"type": "directory", "oid": "0", "path": "x"}, *files[start : start + PAGE]], **headers)

    def resolve(self, repo: str, revision: str, path: str) -> None:
        if self.refused(repo):
            return None
        data = self.fake.files(repo, revision).get(path)
        if data is None:
            return self.answer(404, X_Error_Code="EntryNotFound")
        location = f"{self.fake.cdn}/cdn/{quote(revision, safe='')}/{repo}/{quote(path)}?Signature=x"
        listed = entry(path, data)
        etag = listed.get("lfs", listed)["oid"]
        return self.answer(302, Location=location, X_Linked_Size=str(len(data)), X_Linked_Etag=f'"{etag}"')

    def modelscope(self, repo: str, rest: list[str], query: dict[str, str]) -> None:
        files = self.fake.repos.get(repo, {})
        if rest == ["repo"]:
            return self.cdn(repo, query["Revision"], query["FilePath"])
        if repo not in self.fake.repos:
            return self.answer(404, b'{"Code": 10010205001, "Success": false, "Message": "not exist"}')
        listed = [
            {"Type": "blob", "Path": p, "Size": len(d), "Sha256": hashlib.sha256(d).hexdigest()}
            for p, d in files.items()
        ]
        size, number = int(query["PageSize"]), int(query["PageNumber"])
        page = [{"Type": "tree", "Path": "data", "Size": 0}, *listed][(number - 1) * size : number * size]
        return self.json({"Code": 200, "Success": True, "Data": {"Files": page, "TotalCount": len(listed) + 1}})

    def cdn(self, repo: str, revision: str, path: str) -> None:
        data = self.fake.files(repo, revision)[path]
        fault = self.fake.next_fault(path)
        if fault in ("busy", "error", "range"):
            status = {"busy": 429, "error": 503, "range": 416}[fault]
            return self.answer(status, **({"Retry_After": "1"} if fault == "busy" else {}))
        begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in self.headers else 0
        if fault == "no-range":
            begin = 0
        if begin >= len(data) > 0:
            return self.answer(416, Content_Range=f"bytes */{len(data)}")
        body = {"short": data[: len(data) // 2], "long": data + b"!", "other": bytes(len(data))}.get(fault, data)[
            begin:
        ]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if fault == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        for start in range(0, len(body), 1 << 16):
            chunk = body[start : start + (1 << 16)]
            self.wfile.write(chunk)
            with self.fake.lock:
                self.fake.sent[path] += len(chunk)
            time.sleep(self.fake.delay_seconds)
        return None
