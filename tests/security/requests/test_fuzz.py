"""A fuzz of every field of every endpoint: no 5xx, and nobody else notices. Light here, on the real stack when slow."""

import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.security.requests.fuzz_cases import Case, Look, Watchdog, cases, drawn, summary_of
from tests.support.gateway_process import GatewayProcess, wait_for
from tests.support.local_stack import LocalStack
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder
from tests.support.servers.engine import MODEL, EngineServer
from tests.support.timing.other_work import QUIET_BELOW, OtherWork

EMBEDDER = "all-minilm-l6-v2"
LIGHT_CASES = 400
FLUSH_EVERY = 25
TIERS = {"stranger": {"max_sequences": 16}}


class BriefEngine(EngineServer):
    """Answers two words, whatever it is asked."""

    async def _words(self, body: dict[str, Any]) -> AsyncIterator[str]:
        yield " w0"
        yield " w1"

    def add_routes(self, app: web.Application) -> None:
        """Embed anything."""
        app.router.add_post("/{embedder:embedder-[0-9a-f]+}", self._embed)

    async def _embed(self, request: web.Request) -> web.Response:
        vectors = await WordEmbedder().embed([str(each) for each in (await request.json())["inputs"]])
        return web.Response(body=vectors.astype("<f4").tobytes(), headers={"x-bondhu-tokens": "1"})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with a scripted engine and embedder."""
    environ = {"BONDHU__TIERS": json.dumps(TIERS), "BONDHU__EMBEDDER__DIMENSIONS": str(DIMENSIONS)}
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), **environ)
    with BriefEngine(gateway.ingress_port), gateway:
        wait_for(lambda: gateway.get("/ready").status_code == 200, "the gateway to be ready")
        yield gateway


def run(watchdog: Watchdog, sent: list[Case], after_each: Callable[[Case], None] = lambda _: None) -> Counter[int]:
    """Send the cases; the ledger flushes all the while. Returns how often there was each status."""
    statuses: Counter[int] = Counter()
    watchdog.look("nothing")
    for number, case in enumerate(sent, 1):
        statuses[watchdog.send(case)] += 1
        after_each(case)
        if number % FLUSH_EVERY == 0 or number == len(sent):
            watchdog.ledger_flushes(case.about)
    return statuses


def test_no_field_of_any_endpoint_harms_anybody_else(gateway: GatewayProcess) -> None:
    """Large numbers, long texts, deep nesting, wrong types, control characters: refused or answered, no more."""
    stranger, neighbour = gateway.make_key("stranger", tier="stranger"), gateway.make_key("neighbour", tier="admin")
    watchdog = Watchdog(gateway.url, stranger, neighbour, MODEL)

    def embeds() -> bool:
        body = {"model": EMBEDDER, "input": "Hi"}
        headers = {"authorization": f"Bearer {neighbour}"}
        return httpx.post(f"{gateway.url}/v1/embeddings", json=body, headers=headers).status_code == 200

    wait_for(embeds, "the embedder to answer")
    every = list(cases(gateway.get("/openapi.json").json(), MODEL, EMBEDDER))
    statuses = run(watchdog, drawn(every, LIGHT_CASES))
    watchdog.close()
    assert statuses[400] > LIGHT_CASES / 2, statuses
    assert statuses[200] > LIGHT_CASES / 20, statuses
    assert not list((gateway.var_dir / "ledger").glob("*.rejected"))
    assert "Traceback" not in gateway.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_field_of_any_endpoint_harms_the_real_engine(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> None:
    """After each case (or BONDHU_TEST_FUZZ_CASES of them) /health answers in 100 ms, a neighbour's chat in a second.

    While others keep the machine busy these times are theirs: then what fails is a case after which it is longer each
    time, and a hang. The engine that answered before answers after, with the same epoch.
    """
    before = [(replica["replica_id"], replica["epoch"]) for replica in stack.replicas()]
    neighbour = stack.bondhu("keys", "create", "--app", "neighbour", "--tier", "admin").stdout.strip()
    watchdog = Watchdog(stack.url, stack.api_key, neighbour, MODEL)
    document = httpx.get(f"{stack.url}/openapi.json").json()
    others = OtherWork()
    quiet: list[Look] = []
    late_each_time: list[str] = []
    judged = 0

    def judge(case: Case) -> None:
        nonlocal judged
        look = watchdog.looks[-1]
        if look.is_late and watchdog.is_late_again(case):
            late_each_time.append(case.about)
        if len(watchdog.looks) - judged >= FLUSH_EVERY:
            some, judged = watchdog.looks[judged:], len(watchdog.looks)
            if others.share() < QUIET_BELOW:
                quiet.extend(some)

    every = list(cases(document, MODEL, EMBEDDER))
    sent = drawn(every, int(os.environ.get("BONDHU_TEST_FUZZ_CASES", len(every))))
    statuses = run(watchdog, sent, judge)
    watchdog.close()
    late = [look for look in watchdog.looks if look.is_late]
    lines = [
        f"{len(sent)} of {len(every)} cases, {dict(statuses)}",
        f"all {len(watchdog.looks)} looks: {summary_of(watchdog.looks)}",
        f"{len(quiet)} looks while the machine was quiet: {summary_of(quiet) if quiet else '-'}",
        f"{len(late)} late, after {sorted({look.after for look in late})[:20]}; each time: {late_each_time}",
    ]
    with capsys.disabled():
        print("", *lines, sep="\n")  # noqa: T201 - what it is run for
    assert not late_each_time
    assert not [look for look in quiet if look.is_late]
    assert [(replica["replica_id"], replica["epoch"]) for replica in stack.replicas()] == before
    assert not [look for look in quiet if look.is_late]
    assert not list((stack.var_dir / "ledger").glob("*.rejected"))
