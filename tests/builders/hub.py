"""A hub of data sets on the loopback interface, as far as the client of the Hugging Face hub needs one."""

import contextlib
import hashlib
import http.server
import json
import pathlib
import threading
import urllib.parse
from collections.abc import Iterator

REVISION = "c0ffee" + 34 * "0"


class Hub:
    """Serves the files of a folder; keeps what was fetched, and breaks off from the `breaks_after`-th file on."""

    def __init__(self, folder: pathlib.Path):
        self.files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        self.fetched: list[str] = []
        self.revision = REVISION
        self.breaks_after = len(self.files) + 1

    def answer(self, path: str, want_body: bool) -> tuple[int, bytes]:
        parts = urllib.parse.unquote(urllib.parse.urlparse(path).path)
        if "/tree/" in parts:
            files = [
                {"type": "file", "path": n, "size": f.stat().st_size, "oid": _hash(f)} for n, f in self.files.items()
            ]
            return 200, json.dumps(files).encode()
        if parts.startswith("/api/datasets/"):
            return 200, json.dumps({"id": "x/y", "sha": self.revision, "siblings": []}).encode()
        name = parts.partition(f"/resolve/{REVISION}/")[2]
        if name not in self.files:
            return 404, b""
        if want_body:
            if len(self.fetched) >= self.breaks_after:
                return 500, b""
            self.fetched.append(name)
        return 200, self.files[name].read_bytes()


@contextlib.contextmanager
def serve(folder: pathlib.Path) -> Iterator[tuple[Hub, str]]:
    """Yields the hub and its address."""
    hub = Hub(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_HEAD(self):
            self.reply(False)

        def do_GET(self):
            self.reply(True)

        def reply(self, want_body: bool):
            status, body = hub.answer(self.path, want_body)
            self.send_response(status)
            for name, value in (
                ("Content-Length", len(body)), ("ETag", f'"{hashlib.sha1(body).hexdigest()}"'),
                ("X-Repo-Commit", REVISION), ("Content-Type", "application/json"),
            ):  # fmt: skip
                self.send_header(name, str(value))
            self.end_headers()
            if want_body:
                self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _hash(path: pathlib.Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
