"""What an application does: chats with memory, agents, jobs. It notes what was acknowledged, and asks for it later."""

import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 120.0
USER = "maya"


class Refused(Exception):
    """An answer that is none of 2xx, or no answer at all."""


@dataclass
class Acknowledged:
    """What the service said that it did: request ids in the ledger, sentences in memory, jobs."""

    requests: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)


class Client:
    """An application of the service at `url`; `tag` makes its request ids its own, `trust` is for our certificate."""

    def __init__(self, url: str, key: str, tag: str, trust: ssl.SSLContext | None = None) -> None:
        self._url, self._key, self._tag, self._trust, self._sent = url, key, tag, trust, 0
        self.acknowledged = Acknowledged()

    def chat(self, words: str, model: str = "bondhu", **fields: Any) -> tuple[str, float]:
        """Say something with memory on; return the answer, which is not empty, and the seconds that it took."""
        began = time.monotonic()
        body = {"model": model, "user": USER, "max_tokens": 48, "messages": [{"role": "user", "content": words}]}
        reply, headers, id_ = self._ask("POST", "/v1/chat/completions", body | fields, {"x-bondhu-memory": "on"})
        text = str(reply["choices"][0]["message"]["content"]).strip()
        if not text:
            raise Refused(f"an empty answer to {words!r}")
        self.acknowledged.requests.append(id_)
        if headers.get("x-bondhu-memory", "").startswith("recalled"):
            self.acknowledged.sentences.append(words)
        return text, time.monotonic() - began

    def tell(self, words: str) -> None:
        """Store a turn without an answer."""
        turn = {"external_id": words, "speaker": USER, "text": words, "said_at": "2026-11-27T12:00:00Z"}
        self._ask("POST", "/api/v1/conversations", {"user": USER, "external_id": "told", "messages": [turn]})
        self.acknowledged.sentences.append(words)

    def job(self, kind: str) -> str:
        """Request a job of the service; return its id."""
        reply, _, _ = self._ask("POST", "/api/v1/jobs", {"kind": kind})
        self.acknowledged.jobs.append(str(reply["id"]))
        return str(reply["id"])

    def state_of(self, job: str) -> str:
        """A job's state."""
        return str(self._ask("GET", f"/api/v1/jobs/{job}")[0]["state"])

    def wait_done(self, job: str, within_s: float) -> float:
        """Wait until a job is done; return the seconds. Raises Refused if it does not come to that."""
        began = time.monotonic()
        while (state := self.state_of(job)) != "done":
            if state in ("dead", "cancelled") or time.monotonic() - began > within_s:
                raise Refused(f"job {job} is {state} after {time.monotonic() - began:.0f} s")
            time.sleep(1)
        return time.monotonic() - began

    def missing(self) -> list[str]:
        """Return what was acknowledged and is not there: in the ledger, in memory, among the jobs."""
        lost = []
        for id_ in self.acknowledged.requests:
            try:
                found = self._ask("GET", f"/v1/usage/{id_}")[0]
                if found.get("outcome") not in ("ok", "degraded"):
                    lost.append(f"the ledger has request {id_} as {found.get('outcome')}")
            except Refused as problem:
                lost.append(f"the ledger lacks request {id_}: {problem}")
        document = json.dumps(self._ask("GET", f"/api/v1/export?user={USER}")[0])
        lost += [f"memory lacks {words!r}" for words in self.acknowledged.sentences if words not in document]
        lost += [f"job {job} is {self.state_of(job)}" for job in self.acknowledged.jobs if self.state_of(job) != "done"]
        return lost

    def metric(self, name: str, token: str) -> float:
        """The sum of a metric's values."""
        request = urllib.request.Request(f"{self._url}/metrics", headers={"authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._trust) as reply:
            lines = reply.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def _ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[dict[str, Any], dict[str, str], str]:
        self._sent += 1
        id_ = f"{self._tag}-{self._sent}"
        about = {"authorization": f"Bearer {self._key}", "content-type": "application/json", "x-request-id": id_}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}{path}", data, about | (headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._trust) as reply:
                return json.load(reply), {name.lower(): value for name, value in reply.headers.items()}, id_
        except urllib.error.HTTPError as refusal:
            raise Refused(f"{method} {path}: {refusal.code} {refusal.read()[:300]!r}") from None
        except OSError as problem:
            raise Refused(f"{method} {path}: {problem}") from None


def wait_ready(url: str, within_s: float, trust: ssl.SSLContext | None = None) -> float:
    """Wait until /ready says so; return how long that took. Raises Refused."""
    began = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5, context=trust):
                return time.monotonic() - began
        except OSError as problem:
            if time.monotonic() - began > within_s:
                raise Refused(f"not ready within {within_s:.0f} s: {problem}") from None
        time.sleep(1)
