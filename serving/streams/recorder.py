"""The recordings of one gateway worker: each fed by a generation here, or from that of another worker.

A request is claimed in Redis, so that over all workers one computes it; the others follow its recording. Who follows
takes the recording over when nobody writes it any more, and goes on from its text. A generation goes on while somebody
reads it, here or elsewhere, or may come back. Without Redis all of this holds within the worker.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from starlette.types import Message

from serving import errors
from serving.generation.continuation import can_be_continued
from serving.generation.pipeline import Sent
from serving.protocol.request import Call
from serving.resilience.deadline import answer_within
from serving.resilience.drain import Drain
from serving.resilience.redis import AWAY
from serving.streams.policy import whose
from serving.streams.reader import Reading
from serving.streams.recording import Tape
from serving.streams.redis_store import HEAR_S, Fields, TapeStore, apply
from serving.streams.replicator import SHARED_S, Publisher

log = logging.getLogger(__name__)

ASK_WITHIN_S = 0.05
READ_BLOCK_MS = 100
FORGET_WITHIN_S = 5.0
READ_WITHIN_S = 0.35  # a Redis that froze holds a reader up for that long
SILENT_S = 1.0  # without news, whoever writes a recording may be gone; whether it is, Redis knows
POLL_S = 0.1
MOST_KEPT = 256  # ended recordings; older ones are in Redis
Answer = TypeVar("Answer")


class Tapes:
    """One worker's.

    Args:
        store: the recordings in Redis.
        publisher: writes this worker's there.
        shares: whether other workers' requests count as identical ones.
        drain: the worker's end.
        most_bytes: kept of a recording.
        keep_s: how long an ended one can be resumed.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        *,
        store: TapeStore,
        publisher: Publisher,
        shares: bool,
        drain: Drain,
        most_bytes: int,
        keep_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._shares = shares
        self._drain = drain
        self._most_bytes = most_bytes
        self._keep_s = keep_s
        self._clock = clock
        self._flights: dict[str, Tape] = {}  # by identity
        self._known: dict[str, Tape] = {}  # by id
        self._ended: dict[str, Tape] = {}  # that can be resumed, oldest first
        self._works: set[asyncio.Task[None]] = set()
        publisher.find = self._known.get
        publisher.drop = self._drop

    def of(self, call: Call, identity: str | None, entry_id: str, patience_s: float) -> tuple[Tape, bool]:
        """The recording that answers `call`, and whether it is a new one.

        Args:
            call: the request.
            identity: what identical requests have in common; None: it is not shared.
            entry_id: the request's in the ledger.
            patience_s: how long it is wanted without its client.

        """
        found = self._flights.get(identity) if identity else None
        if found is not None and found.is_whole:
            return found, False
        tape = self._new(
            entry_id,
            call,
            whose(call.app, call.user, call.path),
            is_resumable=call.streams and patience_s > 0,
            patience_s=patience_s,
        )
        if identity:
            tape.identity = identity
            self._flights[identity] = tape
        self._start(self._answer(tape))
        return tape, True

    async def find(self, tape_id: str, whose_: str) -> Tape:
        """The recording that a client comes back to; raises UnknownStream."""
        if tape_id not in self._known and not await self._ask(self._store.is_resumable(tape_id, whose_), False):
            raise errors.UnknownStream
        tape = self._known.get(tape_id)
        if tape is None:
            tape = self._new(tape_id, None, whose_, is_resumable=True, patience_s=0.0)
            self._start(self._follow_on(tape))
        if tape.whose != whose_ or not tape.is_resumable:
            raise errors.UnknownStream
        return tape

    async def forget(self, owner: str) -> None:
        """Keep no recording of a person (`owner_of`), or of an application's people (`owners_of`), at any worker.

        Who reads one at this moment gets the rest of it, and cannot come back. Raises what is in AWAY.
        """
        async with answer_within(FORGET_WITHIN_S):
            await self._drop(owner)
            await self._store.forget(owner)

    async def count(self, owner: str) -> int:
        """How many recordings of theirs can be read again, in Redis and at this worker. Raises what is in AWAY."""
        async with answer_within(FORGET_WITHIN_S):
            in_redis = await self._store.count(owner)
        return in_redis + sum(tape.whose.startswith(owner) for tape in self._known.values())

    def numbers(self) -> dict[str, float]:
        """How many recordings are in the making, and how many clients read one."""
        readers = sum(len(tape.readers) for tape in self._known.values())
        return {"recordings": len(self._works), "readers": readers}

    async def close(self) -> None:
        """Return once everything has ended, which the drain sees to, and Redis knows."""
        while self._works:
            await asyncio.wait(self._works)
        await self._publisher.flush()

    def _new(self, id_: str, call: Call | None, whose_: str, *, is_resumable: bool, patience_s: float) -> Tape:
        tape = self._known[id_] = Tape(
            id_,
            call,
            whose_,
            is_resumable=is_resumable,
            patience_s=patience_s,
            most_bytes=self._most_bytes,
            clock=self._clock,
        )
        return tape

    def _start(self, work: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    async def _answer(self, tape: Tape) -> None:
        try:
            elsewhere = await self._claim(tape, tape.identity) if tape.identity and self._shares else None
            if elsewhere is None:
                await self._produce(tape, since=None, publishes=tape.is_resumable)
                return
            self._known.pop(tape.id, None)
            tape.id = elsewhere
            if not tape.is_forgotten:
                self._known[tape.id] = tape
            there = await self._ask(self._store.ask_for(tape.id, tape.whose), False)
            await self._follow(tape, is_written=there)
        finally:
            self._settle(tape)

    async def _follow_on(self, tape: Tape) -> None:
        try:
            await self._follow(tape, is_written=True)
        finally:
            self._settle(tape)

    async def _claim(self, tape: Tape, identity: str) -> str | None:
        """The id of the recording that another worker makes; None when this one has to."""
        unknown = object()
        elsewhere = await self._ask(self._store.claim(identity, tape.id), unknown)
        if elsewhere is unknown:
            return None
        if elsewhere is None:
            self._publisher.took_off(identity)
        return elsewhere  # type: ignore[return-value]  # what is left is the claim's answer

    async def _follow(self, tape: Tape, *, is_written: bool) -> None:
        """Copy another worker's recording to its end; go on by itself where nobody writes any more."""
        how = await self._copy(tape, is_written=is_written)
        if how in ("seized", "alone"):
            since = tape.total if tape.head else None
            await self._produce(tape, since=since, publishes=how == "seized")

    async def _copy(self, tape: Tape, *, is_written: bool) -> Literal["ended", "seized", "alone"]:
        last, told_at = b"0", float("-inf")
        news_at = self._clock() if is_written else float("-inf")
        try:
            while tape.is_wanted() and not self._drain.is_over:
                if self._clock() - told_at >= HEAR_S:
                    told_at = self._clock()
                    await self._within(self._store.hear(tape.id))
                entries = await self._entries(tape, last, READ_BLOCK_MS if is_written else None)
                is_written = True  # by whoever is faster, if it cannot be seized
                if entries:
                    last, news_at = entries[-1][0], self._clock()
                    if await self._apply(tape, entries):
                        return "ended"
                is_over = bool(entries) and entries[-1][1].get(b"e") == b"gone"
                is_silent = self._clock() - news_at > SILENT_S
                if (is_over or is_silent) and tape.readers and await self._within(self._store.seize(tape.id)):
                    rest = await self._entries(tape, last, None)  # written since the last look
                    return "ended" if await self._apply(tape, rest) else "seized"
        except AWAY as problem:
            log.info("recording %s cannot be followed: %r", tape.id, problem)
            return "alone" if tape.readers else "ended"
        if self._drain.is_over:
            tape.finish("gone")
        return "ended"

    async def _apply(self, tape: Tape, entries: list[tuple[bytes, Fields]]) -> bool:
        """Copy entries; returns whether the recording has ended."""
        request_id = tape.id if tape.call is None else tape.call.request_id
        for _, fields in entries:
            if not apply(tape, fields, request_id):
                tape.fail(errors.UnknownStream() if tape.head is None else errors.ReaderTooSlow())
                return True
        tape.tell()
        await tape.make_room()
        if not entries or entries[-1][1].get(b"e") != b"complete":
            return False
        tape.finish("complete")
        return True

    async def _entries(self, tape: Tape, last: bytes, block_ms: int | None) -> list[tuple[bytes, Fields]]:
        async with answer_within(READ_WITHIN_S):
            return await self._store.read(tape.id, tape.whose, last, block_ms)

    async def _produce(self, tape: Tape, *, since: int | None, publishes: bool) -> None:
        """Generate what is missing, with the entry of one of the readers."""
        call = tape.call
        sent = Sent(tape.blocks(), tape.counted()) if since is not None else None
        if call is None or (sent and not (tape.is_whole and can_be_continued(call))):
            tape.fail(errors.EngineFailed("The gateway worker that answered this stopped in the middle of it."))
            return
        readers = [reader for reader in tape.readers if isinstance(reader, Reading)]
        generation = next((made for reader in readers if (made := reader.give(call, sent))), None)
        if generation is None:
            return
        tape.counted = lambda: generation.counted
        if publishes:
            self._publisher.publish(tape, ttl_s=self._keep_s if tape.is_resumable else SHARED_S, since=since)

        async def left() -> Message:
            await self._until_abandoned(tape)
            return {"type": "http.disconnect"}

        try:
            await generation({}, left, tape.send)
        except errors.ApiError as problem:
            tape.fail(problem)
        except Exception:
            log.exception("a shared generation failed")
            tape.fail(errors.ApiError("The gateway failed on this request; its log says why.", code="internal_error"))

    async def _until_abandoned(self, tape: Tape) -> None:
        """Return once nobody wants the answer any more; from then on nobody can."""
        called_at = float("-inf")
        while True:
            await tape.unread()
            if tape.is_wanted():
                await asyncio.sleep(POLL_S)
                continue
            if tape.is_elsewhere:
                await asyncio.sleep(called_at + 2 * HEAR_S - self._clock())
                called_at = self._clock()
                if await self._ask(self._store.is_heard(tape.id), False) or tape.is_wanted():
                    continue
            self._remove(tape)
            return

    def _settle(self, tape: Tape) -> None:
        """Its task ends."""
        self._remove(tape)
        if tape.identity and tape.identity not in self._flights:  # else it has taken off again since
            self._publisher.landed(tape.identity)
        if tape.end is None:
            tape.finish("gone" if self._drain.is_over and tape.is_resumable else "dropped")
        if tape.end == "complete" and tape.is_resumable:
            self._keep(tape)

    async def _drop(self, owner: str) -> None:
        """What this worker has of theirs."""
        tapes = [tape for tape in self._known.values() if tape.whose.startswith(owner)]
        for tape in tapes:
            tape.forget()
            self._remove(tape)
            self._ended.pop(tape.id, None)
        await self._publisher.forget(tapes)

    def _remove(self, tape: Tape) -> None:
        """No request finds it any more."""
        if self._known.get(tape.id) is tape:
            del self._known[tape.id]
        if tape.identity and self._flights.get(tape.identity) is tape:
            del self._flights[tape.identity]

    def _keep(self, tape: Tape) -> None:
        self._known[tape.id] = self._ended[tape.id] = tape
        asyncio.get_running_loop().call_later(self._keep_s, self._let_go, tape.id)
        if len(self._ended) > MOST_KEPT:
            self._let_go(next(iter(self._ended)))

    def _let_go(self, tape_id: str) -> None:
        self._known.pop(tape_id, None)
        self._ended.pop(tape_id, None)

    async def _ask(self, call: "Awaitable[Answer]", otherwise: "Answer") -> "Answer":
        """What Redis answers; `otherwise` when it does not."""
        breaker, began = self._publisher.breaker, self._clock()
        try:
            answer = await self._within(call)
        except AWAY as problem:
            breaker.failed(problem, began)
            return otherwise
        breaker.succeeded()
        return answer

    async def _within(self, call: "Awaitable[Answer]") -> "Answer":
        if self._publisher.breaker.is_open:
            if asyncio.iscoroutine(call):
                call.close()
            raise ConnectionError("Redis is away")
        async with answer_within(ASK_WITHIN_S):
            return await call
