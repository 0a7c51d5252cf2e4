"""Extracts memories from a person's turns: read, call the model, validate, then store everything in one transaction.

No transaction is open during the model call. Results are stored only under the claim on the job, and only for turns
that still exist and are unread. So a person who was deleted meanwhile stays deleted, and each turn is processed once,
however often its job runs. A memory's id is derived from its message's id and its words.

Only the person's own words become memories; replies are context. A turn without a memory is not lost, because recall
also uses turns. This module does not know where the model is, or when a failed call is repeated.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, get_args

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from memory.embedding.parts import parts_of
from memory.extraction.deduplication import Vector, is_near, nearest, nearest_by_meaning, normalised
from memory.extraction.operations import Decision, Question, Unreadable, question_on, read_answer
from memory.recall.rank_fusion import best_first, reciprocal_rank
from storage.jobs.queue import Claim, finish_job
from storage.memory.conversations import find_messages
from storage.memory.memories import (
    EmptyInterval,
    MemoryFilter,
    MemoryRecord,
    NewMemory,
    drop_memories,
    list_memories,
    present_memories,
    put_memory,
)
from storage.memory.owner import Owner
from storage.memory.people import bump, names_of, read_profile
from storage.memory.tables import MemoryKind, StatedKind
from storage.memory.unread_turns import Batch, Turn, mark_read, read_batch
from storage.memory.vectors.embeddings import vectors_of_memories

log = logging.getLogger(__name__)

UNREADABLE = "unreadable"
AROUND = 4  # turns before, as context
MAX_SHOWN = 20  # known memories that a model may point at
MIN_CHARACTERS = 32  # of a batch's turns, below which a prompt's length is not theirs
MAX_PARTS = 64  # of turns that are embedded
MAX_KNOWN = 2000  # that are compared word for word
STATED: Sequence[MemoryKind] = get_args(StatedKind)  # summaries are made of the same turns
TEMPERATURES = (0.0, 0.5)  # of the first try and of the second, which at 0 would only say the same again


class ModelAway(Exception):
    """The model gave no answer; `kind` names the failure for operators, `retry_after_s` is the requested wait."""

    def __init__(self, kind: str, retry_after_s: float = 0) -> None:
        super().__init__(kind)
        self.kind = kind
        self.retry_after_s = retry_after_s

    @property
    def is_too_long(self) -> bool:
        """Whether the prompt was longer than the model reads: a shorter one may be answered."""
        return "context_length_exceeded" in self.kind


class Model(Protocol):
    """A model that follows a JSON schema; its content is not trusted."""

    async def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], temperature: float) -> str:
        """The answer's text; raises ModelAway."""
        ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector] | None:
        """Unit vectors of texts; None while there is no embedder."""
        ...


@dataclass(frozen=True, slots=True)
class Extracted:
    """The result of a batch: turns read, memories added; `error` is "unreadable" if the answer was."""

    turns: int = 0
    added: int = 0
    merged: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Decided:
    decisions: Sequence[Decision] = ()
    made_before: Sequence[MemoryRecord] = ()
    merged: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None


class Extractor:
    """Extracts, on one database.

    Args:
        engine: the database.
        model: extracts.
        now: the time, aware.
        characters: approximate number of characters of turns in one prompt.
        timeout_s: for all model calls of one batch.

    """

    def __init__(
        self, engine: AsyncEngine, model: Model, now: Callable[[], datetime], *, characters: int, timeout_s: float
    ) -> None:
        self._engine = engine
        self._model = model
        self._now = now
        self._characters = characters
        self._timeout_s = timeout_s

    async def run(self, claim: Claim) -> Extracted | None:
        """Process the next batch of the claim's owner and finish the job; None if the claim has been lost.

        A batch that is too long for the model is halved until it is not. Raises ModelAway; then nothing has changed.
        """
        characters = self._characters
        while True:
            try:
                return await self._run(claim, characters)
            except ModelAway as problem:
                characters //= 2
                if not problem.is_too_long or characters < MIN_CHARACTERS:
                    raise

    async def _run(self, claim: Claim, characters: int) -> Extracted | None:
        batch = await read_batch(self._engine, claim.owner, characters=characters, around=AROUND)
        decided = await self._decide(claim.owner, batch, characters) if batch is not None else _Decided()
        turns = [] if batch is None else [turn.id for turn in batch.turns]
        known_since = await self._known_since(claim.owner, decided.decisions)
        now = self._now()
        async with self._engine.begin() as connection:
            version = await bump(connection, claim.owner, now=now)
            if not await finish_job(connection, claim, now=now, error=decided.error):
                await connection.rollback()  # and with it the person, if they had been forgotten
                return None
            unread = await mark_read(connection, claim.owner, turns, now=now)
            of_unread = [each for each in decided.decisions if each.turn.id in unread]
            if decided.error is None:
                kept = {memory_id(each.turn.id, each.text) for each in of_unread}
                gone = [each for each in decided.made_before if each.id not in kept and each.message_id in unread]
                await drop_memories(connection, claim.owner, gone, version=version, now=now)
            added = await _store(connection, claim.owner, of_unread, known_since, version=version, now=now)
        return Extracted(len(unread), added, decided.merged, decided.refused, decided.error)

    async def _decide(self, owner: Owner, batch: Batch, characters: int) -> _Decided:
        name = (await read_profile(self._engine, owner)).name
        own = [turn for turn in batch.turns if turn.text.strip() and is_own(turn, owner, name)]
        if not own:
            return _Decided()
        holding = MemoryFilter(kinds=STATED, holding_at=self._now())
        remembered = await list_memories(self._engine, owner, holding, limit=MAX_KNOWN)
        read = {turn.id for turn in batch.turns}
        made_before = [each for each in remembered if each.message_id in read and _is_untouched(each)]
        known = [each for each in remembered if each not in made_before]
        try:
            async with asyncio.timeout(self._timeout_s):
                shown = (await self._nearest(owner, own, known))[: max(1, MAX_SHOWN * characters // self._characters)]
                question = question_on(batch, own, shown, characters=characters)
                found = await self._ask(question)
                if found is None:
                    return _Decided(error=UNREADABLE)  # and what an earlier reading made stays
                decisions, refused = found
                fresh = await self._without_known(decisions, known, shown)
        except TimeoutError as problem:
            raise ModelAway("timeout") from problem
        return _Decided(fresh, made_before, len(decisions) - len(fresh), refused)

    async def _nearest(self, owner: Owner, own: Sequence[Turn], known: Sequence[MemoryRecord]) -> list[MemoryRecord]:
        """The known memories that are nearest to the turns, by words and by meaning: Lisbon, said of Porto."""
        texts = [each.text for each in known]
        by_words = nearest("\n".join(turn.text for turn in own), texts, limit=MAX_SHOWN)
        parts = [part for turn in own for part in parts_of(turn.text) or [turn.text]][:MAX_PARTS]
        rows = await self._model.embed(parts) if known else None
        if not rows:
            return [known[number] for number in by_words]
        size_bytes = 4 * len(rows[0])
        stored = await vectors_of_memories(self._engine, owner, {each.id for each in known}, size_bytes=size_bytes)
        vectors = [np.frombuffer(stored[each.id], dtype="<f4") if each.id in stored else None for each in known]
        by_meaning = nearest_by_meaning(rows, vectors, limit=MAX_SHOWN)
        fused = reciprocal_rank([np.array(by_words, dtype=np.int64), np.array(by_meaning, dtype=np.int64)], len(known))
        return [known[number] for number in best_first(fused, MAX_SHOWN).tolist()]

    async def _ask(self, question: Question) -> tuple[list[Decision], Counter[str]] | None:
        for temperature in TEMPERATURES:
            answer = await self._model.ask(question.messages, question.schema, temperature)
            try:
                return read_answer(answer, question)
            except Unreadable:
                log.info("a model's answer cannot be read: %d characters", len(answer))
        return None

    async def _without_known(
        self, decisions: Sequence[Decision], known: Sequence[MemoryRecord], shown: Sequence[MemoryRecord]
    ) -> list[Decision]:
        """The decisions with new content; of duplicates, the first."""
        known_texts = {normalised(each.text) for each in known}
        differing: list[Decision] = []
        for each in decisions:
            if normalised(each.text) not in known_texts:
                known_texts.add(normalised(each.text))
                differing.append(each)
        texts = [*(each.text for each in differing), *(each.text for each in shown)]
        rows = await self._model.embed(texts) if differing else None
        if rows is None:
            return differing
        there = list(zip(shown, rows[len(differing) :], strict=True))
        fresh: list[tuple[Decision, Vector]] = []
        for each, row in zip(differing, rows, strict=False):
            others = [(one.text, other) for one, other in fresh if each.corrects is None or one.turn != each.corrects]
            others += [(one.text, other) for one, other in there if one is not each.target]
            if not any(is_near(each.text, text, (row, other)) for text, other in others):
                fresh.append((each, row))
        return [each for each, _ in fresh]

    async def _known_since(self, owner: Owner, decisions: Sequence[Decision]) -> dict[str, datetime]:
        """Since when each target has been known; turns may be stored later than they were said."""
        targets = {each.target.id: each.target for each in decisions if each.target is not None}
        sources = [each.message_id for each in targets.values() if each.message_id is not None]
        found = await find_messages(self._engine, owner, sources) if sources else {}
        return {
            id_: found[each.message_id].said_at if each.message_id in found else each.valid_from or each.created_at
            for id_, each in targets.items()
        }


def is_own(turn: Turn, owner: Owner, name: str | None) -> bool:
    """Whether the speaker is the person: by the profile's name, the application's id, or `user`."""
    return turn.speaker.casefold() in names_of(owner, name)


def _is_untouched(memory: MemoryRecord) -> bool:
    """Whether extraction made it, and nobody has edited or marked it since."""
    is_made = memory.message_id is not None and memory.id == memory_id(memory.message_id, memory.text)
    return is_made and not (memory.pinned or memory.muted or memory.painful_at or memory.tags or memory.persona)


def memory_id(message_id: str, text: str) -> str:
    """The id of a memory from a message; the same every time it is extracted."""
    return hashlib.blake2b(f"{message_id}\0{normalised(text)}".encode(), digest_size=16).hexdigest()


async def _store(
    connection: AsyncConnection,
    owner: Owner,
    decisions: Sequence[Decision],
    known_since: Mapping[str, datetime],
    *,
    version: int,
    now: datetime,
) -> int:
    """Store them within an open transaction; returns how many were new."""
    there = await present_memories(connection, owner, list(known_since))
    replaced: dict[str, str] = {}  # of two that end the same memory, the second ends the first
    stored: dict[str, list[tuple[str, str]]] = {}  # texts and ids by turn
    added = 0
    for each in decisions:
        id_ = memory_id(each.turn.id, each.text)
        new, ends = _placed(each, {target: at for target, at in known_since.items() if target in there})
        if each.corrects is not None and (earlier := stored.get(each.corrects.id)):
            (number,) = nearest(each.text, [text for text, _ in earlier], limit=1) or (len(earlier) - 1,)
            new, ends = replace(new, valid_from=each.turn.said_at), earlier[number][1]
        keys: dict[str, Any] = {"version": version, "now": now, "id_": id_}
        try:
            ended = None if ends is None else replaced.get(ends, ends)
            _, is_new = await put_memory(connection, owner, new, supersedes=ended, **keys)
        except EmptyInterval:  # what it ends began only with it, or was changed meanwhile: both hold
            _, is_new = await put_memory(connection, owner, replace(new, valid_from=None), **keys)
        else:
            replaced |= {} if ends is None else {ends: id_}
        stored.setdefault(each.turn.id, []).append((each.text, id_))
        added += is_new
    return added


def _placed(decision: Decision, known_since: Mapping[str, datetime]) -> tuple[NewMemory, str | None]:
    """The memory, and the one that it ends, unless that one is newer: then the new memory has already ended."""
    new = NewMemory(
        text=decision.text,
        kind=decision.kind,
        quote=decision.quote,
        message_id=decision.turn.id,
        event_at=decision.event_at,
        confidence=decision.confidence,
        sensitivity=decision.sensitivity,
    )
    said_at = decision.turn.said_at
    if decision.target is None or decision.target.id not in known_since:
        return new, None
    since = known_since[decision.target.id]
    if said_at < since:
        return replace(new, valid_until=since, superseded_by=decision.target.id), None
    return replace(new, valid_from=said_at), decision.target.id
