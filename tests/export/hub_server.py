"""A Hub on this machine: what its client asks of it to make a repository, upload to it and download from it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_of-this-test"


class Hub(ThreadingHTTPServer):
    """Repositories as folders of `root`; `asked` has what was asked, with what came along."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.root, self.asked = root, list[tuple[str, bytes]]()
        self.address = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub(root: Path) -> Iterator[Hub]:
    """Serve `root` until the block ends."""
    server = Hub(root)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Asked(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        self.server.asked.append((path, body))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer({"error": "Invalid username or password."}, 401)
        elif path == "/api/repos/create":
            self.answer({"url": f"{self.server.address}/me/eeg"})
        elif path == "/api/validate-yaml":  # of the model card
            self.answer({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self.answer({"files": [file | {"shouldIgnore": False} for file in files]})
        elif path.endswith("/commit/main"):
            name = "/".join(path.split("/")[3:5])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    file = self.server.root / name / line["value"]["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(base64.b64decode(line["value"]["content"]))
            self.answer({"commitUrl": f"{self.server.address}/{name}/commit/{REVISION}", "commitOid": REVISION})
        else:
            self.answer({"error": path}, 404)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((path, b""))
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and (root := self.server.root / "/".join(parts[2:4])).is_dir():
            files = [file for file in root.rglob("*") if file.is_file()]
            names = [file.relative_to(root).as_posix() for file in files]
            if parts[4:5] == ["tree"]:
                self.answer([{"type": "file", "path": name, "size": 0, "oid": "0" * 40} for name in names])
            else:
                found = {"id": "me/eeg", "sha": REVISION, "siblings": [{"rfilename": name} for name in names]}
                self.answer(found | {"private": True, "tags": [], "downloads": 0, "likes": 0})
        elif parts[2:3] == ["resolve"]:
            content = (self.server.root / "/".join(parts[:2]) / "/".join(parts[4:])).read_bytes()
            self.answer(content, etag=f'"{hash(content):x}"')
        else:
            self.answer({"error": path}, 404)

    do_HEAD = do_GET

    def answer(self, content: object, status: int = 200, etag: str = '""') -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "ETag": etag, "X-Repo-Commit": REVISION}
        for name, value in (headers | ({"X-Error-Code": "RepoNotFound"} if status == 404 else {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
