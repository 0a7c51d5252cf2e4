"""Applications that do not stop while something is done to the service: chats, streams with ids, small requests, jobs.

Connections are kept open as long as the service keeps them. A request fails when its answer is none of 2xx or does not
come; a stream that breaks is resumed by its last id (docs/operating.md), and fails when it does not come to its end.
"""

import http.client
import json
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 120.0
RESUME_S = 90.0  # within which a broken stream has to go on
STREAM_TOKENS = 600  # more than the small engine makes before a switch cuts it
PAUSE_S = 0.5


@dataclass
class Tally:
    """What came of the requests of one phase."""

    answered: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    slowest_s: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


class Broken(Exception):
    """A stream ended before its end."""


class Load:
    """The applications, until `stop`; `phase` names what is done to the service meanwhile."""

    def __init__(self, url: str, key: str) -> None:
        self._address = urllib.parse.urlsplit(url).netloc
        self._key = key
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.phases: dict[str, Tally] = {}
        self.phase = "before"
        self.sentences: list[str] = []
        self.jobs: list[str] = []
        talkers = (self._chat, self._stream, self._recall, self._models, self._job)
        self._threads = [
            threading.Thread(target=self._go_on, args=(talk, number)) for number, talk in enumerate(talkers)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish what it has begun."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self, talk: Any, number: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        count = 0
        while not self._over.wait(PAUSE_S):
            count += 1
            began = time.monotonic()
            kind, resumed = talk.__name__.strip("_"), 0
            try:
                resumed = talk(connection, f"{number}-{count}")
                problem = ""
            except (OSError, http.client.HTTPException, Broken, ValueError) as failure:
                problem = f"{kind}: {type(failure).__name__} {failure}"
                connection.close()
            with self._lock:
                tally = self.phases.setdefault(self.phase, Tally())
                tally.resumed += resumed
                tally.slowest_s[kind] = max(tally.slowest_s.get(kind, 0.0), time.monotonic() - began)
                if problem:
                    tally.failed.append(problem)
                else:
                    tally.answered[kind] += 1

    def _chat(self, connection: http.client.HTTPConnection, name: str) -> int:
        words = f"Please remember the number {name}."
        headers = {"x-bondhu-memory": "on"}
        body = {"model": "bondhu", "user": "maya", "max_tokens": 12, "messages": [{"role": "user", "content": words}]}
        answer, given = self._ask(connection, "POST", "/v1/chat/completions", body, headers)
        if not answer["choices"][0]["message"]["content"]:
            raise Broken("an empty answer")
        if given.get("x-bondhu-memory", "").startswith("recalled"):
            with self._lock:
                self.sentences.append(words)
        return 0

    def _models(self, connection: http.client.HTTPConnection, _name: str) -> int:
        self._ask(connection, "GET", "/v1/models")
        return 0

    def _recall(self, connection: http.client.HTTPConnection, _name: str) -> int:
        self._ask(connection, "POST", "/api/v1/recall", {"user": "maya", "query": "Which number?", "limit": 3})
        return 0

    def _job(self, connection: http.client.HTTPConnection, _name: str) -> int:
        answer, _ = self._ask(connection, "POST", "/api/v1/jobs", {"kind": "stats"})
        with self._lock:
            self.jobs.append(str(answer["id"]))
        self._over.wait(4)
        return 0

    def _stream(self, connection: http.client.HTTPConnection, name: str) -> int:
        messages = [{"role": "user", "content": f"Tell me a long story, number {name}."}]
        body = {"model": "bondhu", "user": "noor", "max_tokens": STREAM_TOKENS, "stream": True, "messages": messages}
        headers = {"x-bondhu-on-disconnect": "finish", "x-bondhu-user": "noor"}
        last, tries, deadline = "", 0, None
        while True:
            try:
                last = self._read(connection, body | {"ignore_eos": True}, headers, last)
            except (OSError, http.client.HTTPException, Broken) as problem:
                connection.close()
                last = getattr(problem, "last", last)
                deadline = deadline or time.monotonic() + RESUME_S
                if not last or time.monotonic() > deadline:
                    raise
                tries += 1
                headers["last-event-id"] = last
                time.sleep(0.5)
            else:
                return int(tries > 0)

    def _read(
        self, connection: http.client.HTTPConnection, body: dict[str, Any], headers: dict[str, str], last: str
    ) -> str:
        """Read a stream to its end; what is raised before has the last id as `last`."""
        try:
            response = self._send(connection, "POST", "/v1/chat/completions", body, headers)
            if response.status != 200:
                raise Broken(f"status {response.status}: {response.read()[:200]!r}")
            for raw in response:
                line = raw.decode().strip()
                if line.startswith("id:"):
                    last = line.removeprefix("id:").strip()
                elif line == "data: [DONE]":
                    response.read()
                    return last
                elif line.startswith("data:") and "error" in json.loads(line.removeprefix("data:")):
                    raise Broken(line[:200])
            raise Broken("it ended without its end")
        except (OSError, http.client.HTTPException, Broken) as problem:
            problem.last = last  # type: ignore[union-attr]
            raise

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, headers: Any = None
    ) -> tuple[Any, dict[str, str]]:
        response = self._send(connection, method, path, body, headers or {})
        text = response.read()
        if response.status >= 300:
            raise Broken(f"status {response.status}: {text[:200]!r}")
        return json.loads(text), {name.lower(): value for name, value in response.headers.items()}

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        about = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), about | headers)
        return connection.getresponse()
