"""One request as its client sees it, in its own thread, so that a test can break something meanwhile.

The client is a plain HTTP client, so nothing hides what the gateway sends, not even bytes that are not JSON.
"""

import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

JOIN_WITHIN_S = 120.0
HELLO: list[dict[str, str]] = [{"role": "user", "content": "Tell me about your day."}]


@dataclass
class Seen:
    """The result: `status` is None if there was none; `code` is that of the error, wherever it was."""

    request_id: str
    status: int | None = None
    code: str | None = None
    retry_after: str | None = None
    models: list[str] = field(default_factory=list)  # that the chunks or the body name, in order
    segments: list[dict[str, Any]] = field(default_factory=list)  # the provenance, where it was told
    ids: set[str] = field(default_factory=set)  # of the chunks
    text: str = ""
    is_whole: bool = False
    was_left: bool = False  # by the client itself
    was_refused: bool = False  # nobody listened: the service never knew of it
    garbled: list[str] = field(default_factory=list)  # events that are no JSON
    took_s: float = 0.0

    def __str__(self) -> str:
        """The text of a table cell."""
        if self.was_left:
            return "left"
        if self.was_refused:
            return "connection refused"
        if self.status is None:
            return "no answer, connection closed"
        if self.status != 200:
            return f"{self.status} `{self.code}`" + (", `Retry-After`" if self.retry_after else "")
        if self.garbled:
            return "200, an event that is no JSON"
        if self.is_whole:
            return "200, whole, by " + " then ".join(f"`{model}`" for model in self.models)
        return f"200, begun, then the event `{self.code}`" if self.code else "200, begun, then cut off"


class Asking:
    """A chat under way; `done` waits for its end.

    Args:
        url: of the gateway.
        key: to ask with.
        body: fields of the request besides model and messages.
        leave_after: leave after so many events; never unless given.
        pause_s: read an event only so often, as a slow reader does.
        headers: besides the usual ones.

    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        leave_after: int | None = None,
        pause_s: float = 0.0,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> None:
        self.seen = Seen(f"fault-{secrets.token_hex(6)}")
        self.begun = threading.Event()  # the first event of a stream came, or it is over
        self._url = url
        self._body = {"model": "bondhu", "messages": HELLO, "stream": True, **body}
        self._headers = {
            "authorization": f"Bearer {key}",
            "x-request-id": self.seen.request_id,
            "cache-control": "no-cache",
            **(headers or {}),
        }
        self._leave_after = leave_after
        self._pause_s = pause_s
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def done(self) -> Seen:
        """Wait for the end and return what was seen."""
        self._thread.join(JOIN_WITHIN_S)
        assert not self._thread.is_alive(), f"{self.seen.request_id} hangs: {self.seen}"
        return self.seen

    @property
    def is_over(self) -> bool:
        """Whether the answer has ended, however it did."""
        return not self._thread.is_alive()

    def until_begun(self) -> None:
        """Wait for the first event."""
        assert self.begun.wait(JOIN_WITHIN_S)
        assert self.seen.status in (None, 200)

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            with (
                httpx.Client(timeout=JOIN_WITHIN_S, verify=False) as client,
                client.stream(
                    "POST", f"{self._url}/v1/chat/completions", json=self._body, headers=self._headers
                ) as answer,
            ):
                self.seen.status = answer.status_code
                self.seen.retry_after = answer.headers.get("retry-after")
                if answer.headers.get("content-type", "").startswith("text/event-stream"):
                    self._read(answer)
                else:
                    self._take(json.loads(answer.read()))
                    self.seen.is_whole = answer.status_code == 200
        except httpx.ConnectError:
            self.seen.was_refused = True
        except httpx.TransportError:
            pass  # cut off: `is_whole` stays False
        finally:
            self.seen.took_s = time.monotonic() - began
            self.begun.set()

    def _read(self, answer: httpx.Response) -> None:
        for number, line in enumerate(line for line in answer.iter_lines() if line.startswith("data: ")):
            self.begun.set()
            if number + 1 == self._leave_after:
                self.seen.was_left = True
                return
            if line == "data: [DONE]":
                self.seen.is_whole = True
                continue
            try:
                self._take(json.loads(line.removeprefix("data: ")))
            except ValueError:
                self.seen.garbled.append(line)
            time.sleep(self._pause_s)

    def _take(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            self.seen.code = chunk["error"]["code"]
            return
        self.seen.ids.add(chunk["id"])
        if segments := chunk.get("bondhu", {}).get("segments"):
            self.seen.segments = segments
            self.seen.models = [segment["model"] for segment in segments]
        elif chunk["model"] not in self.seen.models:
            self.seen.models.append(chunk["model"])
        for choice in chunk["choices"]:
            piece = choice.get("delta") or choice.get("message") or {}
            self.seen.text += piece.get("content") or ""
