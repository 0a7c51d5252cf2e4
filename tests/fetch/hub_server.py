"""A server that speaks what huggingface_hub asks of the hub, with faults on demand; runs in a thread.

GET /api/models/{repo}/revision/{rev}, HEAD and GET /{repo}/resolve/{rev}/{file} with ranges
(https://huggingface.co/docs/hub/api; huggingface_hub/file_download.py).
"""

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COMMIT = "c" * 40


class HubServer:
    """The server; a context manager.

    Attributes:
        ranges: where each GET of a file began.

    """

    def __init__(self, repositories: Mapping[str, Path], token: str) -> None:
        self.ranges: list[int] = []
        self._repositories = repositories
        self._token = token
        self._break_after: int | None = None
        self._spoilt = ""
        self._claimed: int | None = None
        self._further: list[dict[str, Any]] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def break_after(self, size_bytes: int | None) -> None:
        """Break the connection of a download after this much, and every one after it at once; None: not any more."""
        self._break_after = size_bytes

    def spoil(self, file: str) -> None:
        """Send other bytes for this file."""
        self._spoilt = file

    def claim_size(self, size_bytes: int) -> None:
        """Say that the weights are this large."""
        self._claimed = size_bytes

    def name_further(self, file: str) -> None:
        """Say that there is a file of this name, too."""
        self._further.append({"rfilename": file, "size": 2, "blobId": "0" * 40})

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def info(self, name: str) -> dict[str, Any] | None:
        """What the hub's API says of a repository."""
        folder = self._repositories.get(name)
        if folder is None:
            return None
        files = [_file(path, self._claimed) for path in sorted(folder.iterdir())] + self._further
        return {"_id": "1", "id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [], "siblings": files}

    def content(self, name: str, file: str) -> bytes | None:
        """A file's bytes."""
        folder = self._repositories.get(name)
        if folder is None or not (folder / file).is_file():
            return None
        content = (folder / file).read_bytes()
        return bytes(reversed(content)) if file == self._spoilt else content

    def admits(self, authorization: str | None) -> bool:
        """Whether the token is the right one."""
        return authorization == f"Bearer {self._token}"

    def limit(self) -> int | None:
        """After how much a download breaks."""
        return self._break_after


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if not self.hub.admits(self.headers.get("authorization")):
            self._send(401, b"{}", {"x-error-code": "GatedRepo", "x-error-message": "gated"}, with_body)
        elif match := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)(/revision/\w+)?", path):
            info = self.hub.info(match[1])
            if info is None:
                self._send(404, b"{}", {"x-error-code": "RepoNotFound"}, with_body)
            else:
                self._send(200, json.dumps(info).encode(), {"content-type": "application/json"}, with_body)
        elif match := re.fullmatch(r"/([\w-]+/[\w-]+)/resolve/\w+/(.+)", path):
            content = self.hub.content(match[1], match[2])
            if content is None:
                self._send(404, b"", {"x-error-code": "EntryNotFound"}, with_body)
            else:
                self._file(content, with_body)
        else:
            self._send(404, b"", {}, with_body)

    def _file(self, content: bytes, with_body: bool) -> None:
        etag = hashlib.sha256(content).hexdigest()
        headers = {"etag": f'"{etag}"', "x-repo-commit": COMMIT, "accept-ranges": "bytes"}
        byte_range = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        start = int(byte_range[1]) if byte_range else 0
        if byte_range:
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.hub.limit() == 0:
            self.close_connection = True
            return
        if with_body:
            self.hub.ranges.append(start)
        self._send(206 if byte_range else 200, content[start:], headers, with_body)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            limit = self.hub.limit()
            self.wfile.write(body if limit is None else body[:limit])
            if limit is not None and len(body) > limit:
                self.close_connection = True
                self.hub.break_after(0)


def _file(path: Path, claimed: int | None) -> dict[str, Any]:
    content = path.read_bytes()
    record: dict[str, Any] = {"rfilename": path.name, "size": len(content)}
    record["blobId"] = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
    if path.suffix == ".safetensors":
        size = claimed or len(content)
        record |= {
            "size": size,
            "lfs": {"size": size, "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 134},
        }
    return record
