"""A gateway killed with SIGKILL while it runs an agent: afterwards nothing is there twice, and nothing is lost."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Thread

import pytest

from storage import migrate
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.polling import eventually
from tests.support.servers.engine import EngineServer
from tests.support.workers.killed_gateway import (
    APP,
    ArmedGateway,
    Visitor,
    has_no_open_reservation,
    prepare_process,
)

SCENARIOS = {  # what comes before, and the request in which the gateway dies
    "a move": ("games", ("play hangman",), "e"),
    "a thumb up": ("music", ("play some jazz songs",), "like 1"),
    "a playlist": ("auto", ("make me a calm playlist",), "yes"),
}
PARTS = 3  # of each sweep, so that a failure costs minutes to see again
ENVIRON = {
    "BONDHU__TIERS": json.dumps({"standard": {"requests_per_minute": 10_000, "tokens_per_minute": 10_000_000}}),
    "BONDHU__EMBEDDER__DIMENSIONS": str(DIMENSIONS),
}


@contextmanager
def armed_gateway(folder: Path, database_url: str = "") -> Iterator[tuple[ArmedGateway, EngineServer]]:
    """Return a gateway that can be killed at any write."""
    environ = dict(ENVIRON)
    if database_url:
        environ["DATABASE_URL"] = database_url
        migrate.downgrade(database_url)
    process = GatewayProcess(folder, process_environ=prepare_process(folder), **environ)
    armed = ArmedGateway(process, folder)
    with EngineServer(process.ingress_port, embeds=True) as engine, process:
        armed.key = make_key_when_ready(process)
        yield armed, engine


def make_key_when_ready(process: GatewayProcess) -> str:
    """Return a key of the application, once the gateway knows the model."""
    eventually(lambda: process.get("/ready").status_code == 200, DEADLINE_S, "the model to be known")
    return process.make_key(APP, tier="standard", notices="off")


def test_a_run_whose_gateway_dies_while_the_model_speaks(tmp_path: Path) -> None:
    """Its client hears of it and says it again: one turn, one answer, a row for each request, no open reservation."""
    gateway = GatewayProcess(tmp_path, **ENVIRON)
    with EngineServer(gateway.ingress_port, embeds=True) as engine, gateway:
        key = make_key_when_ready(gateway)
        mina = Visitor(gateway, key, "mina")
        engine.allow(2)
        speaking = Thread(target=mina.say, args=("chat", "I have a new cat"))
        speaking.start()
        eventually(lambda: engine.requests, DEADLINE_S, "the model to be asked")
        mina.has_turns(1)
        gateway.kill()
        speaking.join()
        eventually(lambda: engine.aborted == 1, DEADLINE_S, "the engine to be left")
        engine.allow(None)
        gateway.start()
        said = mina.say("chat", "I have a new cat")
        assert mina.unanswered == 1
        mina.has_turns(2)
        assert mina.turns() == [("user", "I have a new cat"), ("assistant", str(said).strip())]
        assert mina.rows() == Counter(lost=1, ok=1)
        eventually(lambda: has_no_open_reservation(gateway), DEADLINE_S, "what was reserved to be refunded")


@pytest.mark.slow  # a minute or more each
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_write_and_said_again_is_once(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, database: str, part: int
) -> None:
    """At every statement and around every commit of a run: compared with one whose gateway was left alone.

    Each part has every third of these moments.
    """
    url = request.getfixturevalue("postgres").url if database == "postgres" else ""
    agent, before, last = SCENARIOS[name]
    turns = 2 * len(before)
    with armed_gateway(tmp_path, url) as (gateway, _):

        def begin(name: str) -> Visitor:
            visitor = Visitor(gateway.process, gateway.key, name)
            for text in before:
                assert visitor.say(agent, text)
            visitor.has_turns(turns)
            return visitor

        alone = begin("alone")
        assert alone.say(agent, last)
        alone.has_turns(turns + 2)
        once = kept(alone)
        for step in count(part, PARTS):
            visitor = begin(f"visitor-{step}")
            gateway.arm(step, visitor.next_id)
            said = visitor.say(agent, last)
            eventually(lambda here=visitor: gateway.has_died() or here.counts(turns + 2), DEADLINE_S, "an end")
            if not gateway.has_died():
                gateway.disarm()
                break
            gateway.come_back(visitor)
            moment = f"step {step}: {gateway.died_at}"
            if said is None:
                assert visitor.say(agent, last), moment
                visitor.has_turns(turns + 2)
            assert kept(visitor) == once, moment
            assert sum(visitor.rows().values()) == len(before) + 1 + visitor.unanswered, moment
            eventually(lambda: has_no_open_reservation(gateway.process), DEADLINE_S, f"no open reservation, {moment}")
        assert step > PARTS, "it died in each part"


def kept(visitor: Visitor) -> object:
    """What came of it, without what chance decided."""
    document = visitor.export()
    turns = [text for speaker, text in visitor.turns() if speaker == "user"]
    playlists = [len(each["items"]) for each in document["others"].get("playlists", ())]
    agents = {(each["agent"], each["name"]): each["value"] for each in document["agents"]}
    proposals = [each["state"] for each in agents.get(("music", "proposals"), {}).get("entries", {}).values()]
    signals = len(agents.get(("music", "feedback"), {}).get("signals", ()))
    return turns, playlists, proposals, signals, sorted(agents)
