"""The proxy's configuration in docs/security.md does what the page says, run by nginx as it is written there."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import make_certificate
from tests.support.gateway_process import ROOT, GatewayProcess, free_port, make_key, wait_for
from tests.support.servers.engine import MODEL, EngineServer

NGINX = os.environ.get("BONDHU_TEST_NGINX") or shutil.which("nginx")
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx (apt install nginx), or BONDHU_TEST_NGINX")

HELLO = {"model": "bondhu", "messages": [{"role": "user", "content": "Hi"}]}


class Proxy:
    """An nginx before a gateway with an engine."""

    def __init__(self, port: int, gateway: GatewayProcess, engine: EngineServer) -> None:
        self.port = port
        self.gateway = gateway
        self.engine = engine
        self.key = make_key(gateway.database_url, "shop")

    def client(self) -> httpx.Client:
        """Return a client of it."""
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=False, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Run the page's configuration, with ports and certificate of the test's own."""
    folder = tmp_path_factory.mktemp("proxy")
    with GatewayProcess(folder, workers=2) as gateway, EngineServer(gateway.ingress_port) as engine:
        gateway.until_ready(MODEL)
        port = free_port()
        configuration = written(folder, port, gateway)
        process = subprocess.Popen([str(NGINX), "-e", str(folder / "error.log"), "-c", str(configuration)])
        wait_for(lambda: is_open(port), "nginx to listen")
        try:
            yield Proxy(port, gateway, engine)
        finally:
            process.terminate()
            process.wait()


def written(folder: Path, port: int, gateway: GatewayProcess) -> Path:
    """Write nginx's configuration: the page's block, within what Debian's nginx.conf has around it."""
    (block,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/security.md").read_text(), re.DOTALL)
    certificate, key = make_certificate(folder)
    for old, new in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8000": gateway.url.removeprefix("http://"),
        "/etc/ssl/bondhu/fullchain.pem": str(certificate),
        "/etc/ssl/bondhu/key.pem": str(key),
    }.items():
        assert old in block
        block = block.replace(old, new)
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{each}_temp_path {folder}/{each};" for each in folders)
    file = folder / "nginx.conf"
    file.write_text(
        f"{'user root;' if os.getuid() == 0 else ''} daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 768; }}\nhttp {{ {temporary}\n{block} }}\n"
    )
    return file


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_chat_passes(proxy: Proxy) -> None:
    """Over TLS, with the header that keeps browsers at it."""
    with proxy.client() as client:
        answer = client.post("/v1/chat/completions", json=HELLO)
    assert answer.status_code == 200, answer.text
    assert "strict-transport-security" in answer.headers


def test_a_stream_is_not_held_back(proxy: Proxy) -> None:
    """Its first tokens arrive while the model still thinks of the rest."""
    proxy.engine.allow(1)
    try:
        with (
            proxy.client() as client,
            client.stream("POST", "/v1/chat/completions", json=HELLO | {"stream": True}) as answer,
        ):
            pieces = answer.iter_text()
            assert "data: " in next(pieces)
            proxy.engine.allow(None)
            assert "[DONE]" in "".join(pieces)
    finally:
        proxy.engine.allow(None)


def test_half_a_request_never_reaches_the_gateway(proxy: Proxy) -> None:
    """What a client begins and leaves is between it and the proxy: the gateway's log has the whole request only."""
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: x",
        f"authorization: Bearer {proxy.key}",
        "x-request-id: half",
        "content-length: 100",
    ]
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", proxy.port)) as plain, context.wrap_socket(plain) as client:
        client.sendall("\r\n".join([*head, "", '{"model"']).encode())
    with proxy.client() as client:
        client.post("/v1/chat/completions", json=HELLO, headers={"x-request-id": "whole"})
    wait_for(lambda: '"whole"' in proxy.gateway.log.read_text(), "the line of the whole request")
    assert '"half"' not in proxy.gateway.log.read_text()


def test_what_is_too_large_is_refused_there(proxy: Proxy) -> None:
    """Before the gateway has a byte of it; an import may be larger than a chat."""
    with proxy.client() as client:
        assert client.post("/v1/chat/completions", content=b" " * (5 * 2**20)).status_code == 413
        assert "nginx" in client.post("/v1/chat/completions", content=b" " * (5 * 2**20)).text
        large = client.post("/api/v1/import", content=b" " * (5 * 2**20), headers={"x-bondhu-user": "ann"})
        assert large.status_code == 400, large.text


def test_metrics_are_not_for_the_street(proxy: Proxy) -> None:
    """Whoever asks."""
    with proxy.client() as client:
        assert client.get("/metrics").status_code == 404
