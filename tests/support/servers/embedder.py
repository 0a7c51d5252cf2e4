"""A small server that speaks the embedder deployment's protocol, with the vectors of `WordEmbedder`."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from tests.support.memory.word_embedder import WordEmbedder


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer POST /embedder."""
        request = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        body = asyncio.run(WordEmbedder().embed(request["inputs"])).astype("<f4").tobytes()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-bondhu-tokens", "1")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer GET /directory with the routing table; 404 where there is none."""
        assert isinstance(self.server, _Server)
        routing = self.server.routing
        body = b"" if routing is None else orjson.dumps({"routing": routing, "replicas": []})
        self.send_response(200 if body else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    routing: Any = None


class EmbedderServer:
    """Listens on `port` while it is entered; with a `routing` table it is a directory too."""

    def __init__(self, port: int, routing: Any = None) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.routing = routing
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "EmbedderServer":
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
