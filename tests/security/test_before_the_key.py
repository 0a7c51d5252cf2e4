"""What a stranger can make the service do before it is known who calls: nothing that lasts, and nothing is read."""

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import DEADLINE_S, GatewayProcess, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL, EngineServer

OPEN = {"/health", "/ready"}  # whether the service lives is nobody's secret
CALLBACK = "/api/v1/services/service/callback"  # whose `state` is its key
ANNOUNCED = 1_000_000  # bytes of a body that never comes
HEADER_BYTES = 8192
MAX_CONNECTIONS = 30


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway that waits for nobody long."""
    process = GatewayProcess(
        tmp_path_factory.mktemp("gateway"),
        workers=2,
        BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS),
        BONDHU__GATEWAY__HEADER_TIMEOUT_S="1",
        BONDHU__GATEWAY__BODY_TIMEOUT_S="1",
        BONDHU__GATEWAY__WRITE_TIMEOUT_S="1",
        BONDHU__GATEWAY__MAX_HEADER_BYTES=str(HEADER_BYTES),
        BONDHU__GATEWAY__MAX_CONNECTIONS=str(MAX_CONNECTIONS),
    )
    with EngineServer(process.ingress_port, embeds=True), process:
        process.until_ready(MODEL)
        yield process


class Line:
    """A connection on which a test says exactly what it wants to."""

    def __init__(self, gateway: GatewayProcess, receives: int | None = None) -> None:
        url = httpx.URL(gateway.url)
        self._socket = socket.socket()
        self._socket.settimeout(DEADLINE_S)
        if receives is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        self._socket.connect((url.host, url.port or 80))

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *lines: str, end: str = "\r\n\r\n") -> None:
        """Send lines of a request."""
        self._socket.sendall(("\r\n".join(lines) + end).encode())

    def begin(self, method: str, path: str, *headers: str) -> None:
        """Send the head of a request, whose body is announced and waits until it is asked for."""
        expected = ("expect: 100-continue", f"content-length: {ANNOUNCED}", "content-type: application/json")
        self.send(f"{method.upper()} {path} HTTP/1.1", "host: bondhu", *expected, *headers)

    def has_news(self, after_s: float) -> bool:
        """Return whether something can be read, within a time."""
        return bool(select.select([self._socket], [], [], after_s)[0])

    def first(self) -> bytes:
        """Return one answer, `100 Continue` too; what there is of it when the connection was closed."""
        read = b""
        while block := self._socket.recv(65536):
            read += block
            head, end, body = read.partition(b"\r\n\r\n")
            named = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            length = int(named[0]) if named else 0
            if end and len(body) >= length:
                break
        return read

    def rest(self) -> bytes:
        """Return all that is answered until the connection is closed."""
        read = b""
        while block := self._socket.recv(65536):
            read += block
        return read


def status(answer: bytes) -> int:
    """Return the status of a response."""
    return int(answer.split(b" ", 2)[1])


def code(answer: bytes) -> str:
    """Return the code in a refusal's envelope."""
    found_code: str = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
    return found_code


def routes(gateway: GatewayProcess) -> list[tuple[str, str]]:
    """Return every method and path of the service, with something in the path's places."""
    paths: dict[str, dict[str, Any]] = httpx.get(f"{gateway.url}/openapi.json", timeout=DEADLINE_S).json()["paths"]
    found = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(found) > 25
    return [(method, path.replace("{", "").replace("}", "")) for method, path in found]


def test_no_byte_of_a_strangers_body_is_read(gateway: GatewayProcess) -> None:
    """On every route: the refusal comes instead of the `100 Continue` that the first reading would send."""
    key = f"authorization: Bearer {gateway.make_key('one', tier='admin')}"
    count = 0
    for method, path in routes(gateway):
        for headers in ((), ("authorization: Bearer bd-nobodys",)):
            with Line(gateway) as line:
                line.begin(method, path, *headers)
                answer = line.first()
            expected = {200, 503} if path in OPEN else {404} if path == CALLBACK else {401}
            assert status(answer) in expected, (method, path, answer)
        with Line(gateway) as line:
            line.begin(method, path, key)
            count += status(line.first()) == 100
    assert count >= 12, "of somebody known it is read"


def test_half_a_request_ends(gateway: GatewayProcess) -> None:
    """A client that sends nothing, half of the headers or half of a body, with or without a key, times out."""
    key = f"authorization: Bearer {gateway.make_key('one', tier='admin')}"
    with Line(gateway) as silent, Line(gateway) as slow, Line(gateway) as stranger, Line(gateway) as known:
        slow.send("POST /v1/chat/completions HTTP/1.1", "host: bondhu", end="\r\nx-half: ")
        stranger.send("POST /api/v1/import HTTP/1.1", "host: bondhu", "content-length: 99")
        known.send("POST /api/v1/import HTTP/1.1", "host: bondhu", "content-length: 99", key, end="\r\n\r\n{")
        assert silent.rest() == b""
        assert status(slow_answer := slow.rest()) == 408
        assert code(slow_answer) == "request_timeout"
        assert status(stranger.rest()) == 401
        assert status(known_answer := known.rest()) == 408
        assert code(known_answer) == "request_timeout"


def test_bytes_that_dribble_in_win_no_time(gateway: GatewayProcess) -> None:
    """A byte now and then, of headers or of a body, for as long as it is taken: the time runs from the first."""
    key = f"authorization: Bearer {gateway.make_key('one', tier='admin')}"
    body = ("POST /api/v1/memories HTTP/1.1", "host: bondhu", "content-length: 9999", key)
    for lines, end, byte in (((), "GET /health HTTP/1.1\r\nx: ", "y"), (body, "\r\n\r\n", " ")):
        with Line(gateway) as line:
            line.send(*lines, end=end)
            dribbled = 0
            while not line.has_news(after_s=0.1):
                line.send(byte, end="")
                dribbled += 1
            assert status(line.first()) == 408
        assert dribbled > 3


def test_a_second_request_has_its_time_too(gateway: GatewayProcess) -> None:
    """On a connection that was good before, half of a request ends as well; a whole one is answered."""
    whole = ("GET /health HTTP/1.1", "host: bondhu")
    with Line(gateway) as line:
        for _ in range(3):
            line.send(*whole)
            assert status(line.first()) == 200
        line.send(whole[0], end="\r\nho")
        assert status(line.rest()) == 408
    with Line(gateway) as line:
        line.send(*whole)
        assert status(line.first()) == 200
        line.send("", end="\r\n")
        assert line.rest() == b""


@pytest.mark.parametrize(
    "head",
    [
        "x-long: " + "x" * (2 * HEADER_BYTES) + "\r\n\r\n",
        "x-endless: " + "x" * (2 * HEADER_BYTES),
        "".join(f"x-{number}: y\r\n" for number in range(HEADER_BYTES)) + "\r\n",
    ],
    ids=["long", "endless", "many"],
)
def test_headers_have_a_size(gateway: GatewayProcess, head: str) -> None:
    """One that is long, one that does not end, and many small ones."""
    with Line(gateway) as line:
        line.send("GET /health HTTP/1.1", "host: bondhu", head, end="")
        answer = line.first()
    assert (status(answer), code(answer)) == (431, "headers_too_large")


def test_a_path_has_a_size(gateway: GatewayProcess) -> None:
    """It is counted with the headers."""
    with Line(gateway) as line:
        line.send(f"GET /health?{'x' * HEADER_BYTES} HTTP/1.1", "host: bondhu")
        assert status(line.first()) == 431


def test_who_leaves_while_sending_is_no_failure(gateway: GatewayProcess) -> None:
    """On every route that reads a body, part of it and then nothing leaves no trace of a bug in the log."""
    key = f"authorization: Bearer {gateway.make_key('one', tier='admin')}"
    for method, path in routes(gateway):
        with Line(gateway) as line:
            line.begin(method, path, key)
            if status(line.first()) == 100:
                line.send('{"model": "', end="")
    request_id = "left-early"
    with Line(gateway) as line:
        line.begin("POST", "/v1/chat/completions", key, f"x-request-id: {request_id}")
        line.first()
    secret = {"authorization": key.partition(": ")[2]}

    def is_on_record() -> bool:
        answer = httpx.get(f"{gateway.url}/v1/usage/{request_id}", headers=secret, timeout=DEADLINE_S)
        return answer.status_code == 200 and answer.json()["error_code"] == "incomplete_body"

    wait_for(is_on_record, "the ledger to know")
    assert b"Traceback" not in gateway.log.read_bytes()


def test_connections_have_a_number(gateway: GatewayProcess) -> None:
    """Beyond it a request is told to come again; when others have gone it is answered."""
    lines = [Line(gateway) for _ in range(MAX_CONNECTIONS * 3)]  # over two workers
    refused = []
    for line in lines:
        line.send("GET /health HTTP/1.1", "host: bondhu", end="\r\nx")
    for line in lines:
        try:
            line.send(": y")
            answer = line.first()
        except ConnectionError:  # far beyond it not even that is said
            continue
        if answer and status(answer) != 200:
            refused.append((status(answer), code(answer)))
    assert set(refused) == {(503, "too_many_connections")}
    for line in lines:
        line.__exit__()
    wait_for(lambda: gateway.get("/health").status_code == 200, "room for another")


def test_who_does_not_read_is_cut_off(gateway: GatewayProcess) -> None:
    """Answers are not kept for ever for a client that asks and asks, and takes none."""
    deadline = time.monotonic() + DEADLINE_S
    with Line(gateway, receives=4096) as line:
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                line.send("GET /openapi.json HTTP/1.1", "host: bondhu")
        assert time.monotonic() < deadline, "it was answered all the time"


def test_guessed_keys_are_throttled(gateway: GatewayProcess) -> None:
    """An address with many unknown keys is told to wait; a key that is known is let in all the same."""
    key = gateway.make_key("one", tier="admin")
    wait_for(lambda: gateway.get("/v1/models", key).status_code == 200, "the key to be known")
    with httpx.Client(base_url=gateway.url, timeout=DEADLINE_S) as one_worker:
        good = {"authorization": f"Bearer {key}"}
        assert one_worker.get("/v1/models", headers=good).status_code == 200
        answers = [
            one_worker.get("/v1/models", headers={"authorization": f"Bearer bd-guess{number}"}) for number in range(150)
        ]
        assert [answer.status_code for answer in answers][:10] == [401] * 10
        assert answers[-1].status_code == 429
        assert answers[-1].json()["error"]["code"] == "too_many_invalid_keys"
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert one_worker.get("/v1/models", headers=good).status_code == 200
