"""What HTTP clients do by default: offers to upgrade, HEAD, base URLs that are almost right."""

import json
import shutil
import socket
import subprocess

import httpx
import pytest

from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.servers.engine import MODEL
from tests.support.servers.script import ScriptServer

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}).encode()
OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"


def head(key: str, more: str, *, method: str = "POST", path: str = CHAT) -> bytes:
    """A request's head."""
    lines = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nCache-Control: no-cache\r\n"
    return f"{lines}{more}\r\n".encode()


def replies(gateway: GatewayProcess, pieces: list[bytes], count: int) -> list[tuple[int, bytes]]:
    """Status and body of so many replies to what is sent in these pieces on one connection."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
        for piece in pieces:
            connection.sendall(piece)
        file = connection.makefile("rb")
        found = []
        for _ in range(count):
            status = int(file.readline().split()[1])
            size = 0
            while (line := file.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                size = int(value) if name.lower() == b"content-length" else size
            found.append((status, file.read(size)))
    return found


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("split", ["one piece", "body apart", "byte by byte"])
def test_an_offer_to_upgrade_keeps_the_body(
    gateway: GatewayProcess, engine: ScriptServer, key: str, framing: str, split: str
) -> None:
    """Java's HttpClient offers h2c with its first request; it is answered in HTTP/1.1, however it is framed and cut."""
    if framing == "length":
        first, body = head(key, f"{OFFER}Content-Length: {len(BODY)}\r\n"), BODY
    else:
        first, body = head(key, f"{OFFER}Transfer-Encoding: chunked\r\n"), b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    whole = first + body
    pieces = {"one piece": [whole], "body apart": [first, body], "byte by byte": [bytes([each]) for each in whole]}
    ((status, answer),) = replies(gateway, pieces[split], 1)
    assert status == 200, answer
    assert json.loads(answer)["choices"][0]["message"]["content"] == "All right."
    assert engine.requests[-1]["messages"][0]["content"] == "Hi"


def test_offers_do_not_disturb_what_follows(gateway: GatewayProcess, engine: ScriptServer, key: str) -> None:
    """Requests with and without an offer, and without a body, follow each other on one connection."""
    plain = head(key, f"Content-Length: {len(BODY)}\r\n") + BODY
    offering = head(key, f"{OFFER}Content-Length: {len(BODY)}\r\n") + BODY
    without_body = head(key, OFFER, method="GET", path="/health")
    websocket = head(key, "Connection: upgrade\r\nUpgrade: websocket\r\n", method="GET", path="/health")
    found = replies(gateway, [offering + without_body, plain + websocket, offering], 5)
    assert [status for status, _ in found] == [200] * 5


def test_curl_with_http2_is_answered(gateway: GatewayProcess, engine: ScriptServer, key: str) -> None:
    """`curl --http2` sends the offer that Java sends."""
    curl = shutil.which("curl")
    if curl is None or b"HTTP2" not in subprocess.run([curl, "--version"], capture_output=True, check=True).stdout:
        pytest.skip("no curl with HTTP/2 here")
    headers = ["-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json"]
    command = [curl, "-sS", "--http2", *headers, "--data-binary", "@-", gateway.url + CHAT]
    answered = subprocess.run(command, input=BODY, capture_output=True, check=True, timeout=DEADLINE_S)
    assert json.loads(answered.stdout)["choices"][0]["message"]["content"]


def test_other_protocols_than_http_1_are_refused_with_the_reason(gateway: GatewayProcess) -> None:
    """HTTP/2 without an offer, or noise, is 400 in the envelope."""
    ((status, body),) = replies(gateway, [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 1)
    assert (status, json.loads(body)["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("path", ["/health", "/ready", "/v1/models", "/openapi.json"])
def test_head_is_answered_like_get_without_a_body(http: httpx.Client, path: str) -> None:
    """Monitors ask with HEAD."""
    head, got = http.head(path), http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


PATHS = [
    ("POST", "/v1/v1/chat/completions", "/v1/chat/completions"),
    ("POST", "/chat/completions", "/v1/chat/completions"),
    ("POST", "/v1/v1/messages", "/v1/messages"),
    ("GET", "/models", "/v1/models"),
    ("POST", "/v1/chat/completion", "/v1/chat/completions"),
    ("POST", "/v1/batches", "docs/jobs.md"),
    ("GET", "/v1/files", "not stored"),
    ("POST", "/v1/audio/speech", "text models"),
    ("GET", "/v1/responses/resp_1", "not stored"),
    ("GET", "/elsewhere", "/openapi.json"),
]


@pytest.mark.parametrize(("method", "path", "words"), PATHS)
def test_an_unknown_path_says_what_exists(gateway: GatewayProcess, method: str, path: str, words: str) -> None:
    """A base URL that is almost right, or an endpoint of another service, is a 404 with the remedy."""
    answer = httpx.request(method, gateway.url + path)
    assert answer.status_code == 404
    assert words in answer.json()["error"]["message"]


def test_a_wrong_method_says_which_is_right(gateway: GatewayProcess) -> None:
    """The 405 names what the path accepts."""
    answer = httpx.get(gateway.url + CHAT)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert "POST" in answer.json()["error"]["message"]
