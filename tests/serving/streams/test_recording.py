"""Recordings: who reads from where gets what, how much is kept, and which requests may share one."""

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cache.directives import CacheDirectives, read_directives
from serving.errors import EngineFailed, InvalidRequest, ReaderTooSlow, UnknownStream
from serving.generation.planner import Terms
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, COMPLETION, GenerationRequest
from serving.protocol.response import Collected
from serving.protocol.sse import with_ids
from serving.streams.policy import access_key, identity_of, linger_of, read_event_id
from serving.streams.reader import RecordingReader
from serving.streams.recording import Recording

HEADERS = [(b"content-type", b"text/event-stream")]
MAX_BYTES = 1000


class Reader:
    """Somebody who reads."""

    def __init__(self, next_event: int = 0, linger_s: float | None = 0.0) -> None:
        self.next_event = next_event
        self.linger_s = linger_s


def make(now: float = 0.0) -> Recording:
    """Return an empty recording at an instant."""
    return Recording("a-1", None, "", is_resumable=True, linger_s=0, max_bytes=MAX_BYTES, clock=lambda: now)


def block(*numbers: int, filling: int = 0) -> bytes:
    """Events that tell their numbers."""
    return b"".join(b"data: %d%s\n\n" % (number, b"." * filling) for number in numbers)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.data())
def test_a_reader_gets_what_follows_wherever_it_begins(sizes: list[int], data: st.DataObject) -> None:
    """Every event from its first on, once, however they came in blocks and however it reads."""
    recording, total = make(), sum(sizes)
    reader = Reader(data.draw(st.integers(0, total)))
    first = reader.next_event
    got, number = b"", 0
    for size in sizes:
        recording.add(block(*range(number, number + size)))
        number += size
        if data.draw(st.booleans()):
            got += recording.take(reader)
    got += recording.take(reader)
    assert got == block(*range(first, total))
    assert reader.next_event == total


@given(st.integers(0, 5), st.integers(0, 1000))
def test_ids_name_every_event(number: int, first: int) -> None:
    """Counted from the first; read back, each tells its recording and itself."""
    events = with_ids(block(*range(number)), "f0-1a", first).split(b"\n\n")[:-1]
    lines = [event.partition(b"\n") for event in events]
    assert [read_event_id(id_.removeprefix(b"id: ").decode()) for id_, _, _ in lines] == [
        ("f0-1a", first + index) for index in range(number)
    ]
    assert [rest for _, _, rest in lines] == [b"data: %d" % index for index in range(number)]


async def test_a_slow_reader_slows_the_producer_down() -> None:
    """One reader that does not read: no more is kept than may be, and nothing of it is lost."""
    recording, reader = make(), Reader()
    recording.join(reader)
    await recording.start(200, HEADERS)

    async def produce() -> None:
        for number in range(100):
            await recording.write(block(number, filling=200))
        await recording.end()

    producing = asyncio.create_task(produce())
    for _ in range(1000):
        await asyncio.sleep(0)
    assert recording.total < 100
    got = b""
    while not recording.is_over_for(reader) or reader.next_event < 100:
        got += recording.take(reader)
        await asyncio.sleep(0)
    await producing
    assert got == block(*range(100), filling=200)


async def test_of_two_readers_the_slow_one_is_cut_off() -> None:
    """The fast one has all of it; the other is told once it needs what is no longer kept."""
    recording, fast, slow = make(), Reader(), Reader()
    for reader in (fast, slow):
        recording.join(reader)
    got = b""
    for number in range(20):
        await recording.write(block(number, filling=200))
        got += recording.take(fast)
    assert got == block(*range(20), filling=200)
    with pytest.raises(ReaderTooSlow):
        recording.take(slow)


async def test_readers_wait_for_what_is_held_back() -> None:
    """Nothing is read before it is shown; afterwards all of it."""
    recording, reader = make(), Reader()
    recording.hold_back()
    await recording.write(block(0, 1))
    await recording.end(block(2))
    assert recording.take(reader) == b""
    assert not recording.is_over_for(reader)
    recording.show(2)
    assert recording.take(reader) == block(0, 1)
    recording.show(None)
    assert recording.take(reader) == block(2)
    assert recording.is_over_for(reader)


def test_it_is_wanted_as_long_as_the_reader_who_waits_longest_wants_it() -> None:
    """While somebody reads, and then as long as those who left said; one who said nothing has the recording's word."""
    now = 0.0
    recording = Recording("a-1", None, "", is_resumable=True, linger_s=7, max_bytes=1, clock=lambda: now)
    assert not recording.is_wanted()
    readers = [Reader(linger_s=5), Reader(linger_s=None), Reader(linger_s=0)]
    for reader in readers:
        recording.join(reader)
    for reader in readers:
        assert recording.is_wanted()
        recording.leave(reader)
    now = 6.9
    assert recording.is_wanted()
    now = 7.0
    assert not recording.is_wanted()


def new_request(parsed: Mapping[str, Any], path: str = CHAT, **changes: Any) -> GenerationRequest:
    """Return a request of the application `shop`."""
    usual: dict[str, Any] = {"app": "shop", "user": None, "class_": "interactive", "allow_external": False}
    return GenerationRequest(path=path, parsed=parsed, model="m", request_id="r", **usual | changes)


@pytest.mark.parametrize(
    ("fields", "is_shared"),
    [
        ({}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": 0.5}, False),
        ({"temperature": 0.5, "seed": 3}, True),
        ({"top_k": 1}, True),
        ({"temperature": "0"}, False),
    ],
)
def test_samples_are_not_shared_unless_a_person_asks(fields: dict[str, Any], is_shared: bool) -> None:
    """Requests without an end user are shared when the engine would answer them alike; others always."""
    assert (identity_of(new_request(fields), "free", CacheDirectives(), is_resumable=False) is not None) == is_shared
    assert identity_of(new_request(fields, user="maya"), "free", CacheDirectives(), is_resumable=False) is not None
    for directives in ("no-cache", "max-age=0, no-store"):
        own = read_directives({"cache-control": directives}, ())
        assert identity_of(new_request(fields, user="maya"), "free", own, is_resumable=False) is None


def test_all_that_an_answer_depends_on_tells_requests_apart() -> None:
    """Application, end user (none is not the empty one), tier, class, consent, path, model, body, being resumable."""
    greedy = {"temperature": 0, "messages": [{"role": "user", "content": "Hi"}]}
    usual = new_request(greedy)
    others = [
        (new_request(greedy, app="other"), "free", False),
        (new_request(greedy, user=""), "free", False),
        (new_request(greedy, user="maya"), "free", False),
        (usual, "premium", False),
        (new_request(greedy, class_="job"), "free", False),
        (new_request(greedy, allow_external=True), "free", False),
        (new_request(greedy, COMPLETION), "free", False),
        (new_request(greedy | {"max_tokens": 5}), "free", False),
        (usual, "free", True),
    ]
    identities = {
        identity_of(each, tier, CacheDirectives(), is_resumable=resumable) for each, tier, resumable in others
    }
    assert len(identities) == len(others)
    assert identity_of(usual, "free", CacheDirectives(), is_resumable=False) not in identities
    reordered = dict(reversed(greedy.items()))
    assert identity_of(new_request(reordered), "free", CacheDirectives(), is_resumable=False) == identity_of(
        usual, "free", CacheDirectives(), is_resumable=False
    )
    assert (
        len({access_key("shop", None, CHAT), access_key("shop", "", CHAT), access_key("shop", None, COMPLETION)}) == 3
    )


def test_what_a_client_wants_when_it_leaves() -> None:
    """Nothing, the end, or a bounded grace; anything else is refused."""
    assert [linger_of(named, 120) for named in (None, "abort", "grace:15s", "grace:0.5s", "finish")] == [
        *(0, 0, 15, 0.5),
        math.inf,
    ]
    for named in ("", "grace:120.001s", "grace:nans", "grace:\u0661s", "GRACE:1s "):
        with pytest.raises(InvalidRequest, match="grace:15s"):
            linger_of(named, 120)


@pytest.mark.parametrize("last", ["", ":", "a-1", "a-1:", "a-1:-1", "1:1", "a-1:1 ", "A-1:1", "a-1:1:1", "a-1:\u0661"])
def test_what_is_no_id_is_unknown(last: str) -> None:
    """Whatever a client sends as Last-Event-ID, it is an id or a 404."""
    with pytest.raises(UnknownStream):
        read_event_id(last)


class Uncounted:
    """Limits that nobody may ask."""

    async def count(self, *_: Any) -> dict[str, str]:
        """Fail."""
        raise AssertionError("an error is not counted again")


async def test_a_stream_that_cannot_be_resumed_is_a_whole_error() -> None:
    """Whoever had three events of a stream whose worker is gone gets the error that stands in for the rest."""
    recording = make()
    record = RequestRecord({"id": "b"}, time.monotonic, lambda *_: None)
    reader = RecordingReader(
        recording,
        record=record,
        terms=Terms("shop", None, "free"),
        limits=Uncounted(),
        linger_s=None,
        use="resumed",
        next_event=3,
    )
    error = EngineFailed("The worker stopped.")
    recording.fail(error)
    sent = Collected()
    await reader.run(sent)
    assert (sent.status, sent.body) == (error.status, error.body())
