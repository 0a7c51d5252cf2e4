"""A client that leaves while it sends its body: a row, an outcome, no error of the gateway's."""

import socket
import uuid
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL

RECORDED = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/tokenize",
    "/detokenize",
]
OTHERS = ["/api/v1/memories", "/api/v1/recall", "/api/v1/jobs", "/api/v1/agents/chat/runs"]
BEGINNING = b'{"model": "%s", "messages": [{"role": "user", "content": "I wanted to' % MODEL.encode()


def leave(gateway: GatewayProcess, key: str, path: str, request_id: str) -> None:
    """Send a part of a body and go."""
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nX-Request-Id: {request_id}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
        connection.sendall(head.encode() + BEGINNING)


@pytest.mark.parametrize("path", RECORDED)
def test_a_client_that_leaves_has_a_row(http: httpx.Client, gateway: GatewayProcess, key: str, path: str) -> None:
    """Its outcome says that it was the client who left."""
    request_id = uuid.uuid4().hex
    leave(gateway, key, path, request_id)

    def ended() -> Any:
        row = http.get(f"/v1/usage/{request_id}").json()
        return row if row.get("status") == "ended" else None

    row = eventually(ended, 20, "the row")
    assert (row["outcome"], row["http_status"], row["endpoint"]) == ("aborted", 408, path)
    assert row["error_code"] == "incomplete_body"


@pytest.mark.parametrize("path", OTHERS)
def test_no_route_has_an_error_of_its_own(http: httpx.Client, gateway: GatewayProcess, key: str, path: str) -> None:
    """No traceback in the log, and the access line has the client's status."""
    request_id = uuid.uuid4().hex
    leave(gateway, key, path, request_id)

    def access_line() -> str:
        lines = gateway.log.read_text().splitlines()
        return next((each for each in lines if request_id in each and "bondhu.access" in each), "")

    line = eventually(access_line, 20, "the line")
    assert '"status":408' in line
    assert "Traceback" not in gateway.log.read_text()
    assert http.get("/health").status_code == 200
