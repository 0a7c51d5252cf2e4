"""One chat and the past of the person who chats: what is recalled for it, and how it becomes a part of that past.

The person's words are stored while the model answers, the reply and what it was given (`why`) once it has ended. Only
the last message of the person's is taken: what comes before it in the request was taken when it was said, or can be
brought by POST /api/v1/conversations. The same conversation up to the same message within REPEATED_S is the same turn:
somebody asks for another answer. While the database is away a chat is answered without a past, and leaves no trace.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from memory.budget import within_budget
from memory.store import Store, given_of
from serving.call import Call
from serving.config_schema import ChatMemorySettings
from serving.continuation import events_of
from serving.memory_prompt import profile_lines, recalled_lines, text_of, with_past
from serving.reply import Reply
from storage.conversations import NewMessage
from storage.database import AWAY
from storage.given import Given
from storage.owner import Owner

log = logging.getLogger(__name__)

HEADER = b"x-bondhu-memory"
PERSON, FRIEND = "user", "assistant"  # as speakers, where a profile has no name
REPEATED_S = 600
Clock = Callable[[], datetime]
LONGEST_QUESTION = 2000  # characters of a message that are looked for: its end, where a question is


class Recollection:
    """A request's.

    Args:
        store: people's pasts.
        rules: how much of one a model is told.
        call: the request, with a user and a conversation.
        count: a text's tokens, about.
        now: the time, aware.

    """

    def __init__(
        self, store: Store, rules: ChatMemorySettings, call: Call, count: Callable[[str], int], now: Clock
    ) -> None:
        assert call.user is not None, "who asks for memory says whose"
        assert call.conversation is not None, "and where"
        self._store = store
        self._rules = rules
        self._call = call
        self._count = count
        self._now = now
        self._owner = Owner(call.app, call.user)
        self._conversation = call.conversation
        self._messages: Sequence[Any] = call.parsed["messages"]
        self._said = _last_said(self._messages)
        self._speaker = PERSON
        self._given: list[Given] = []
        self._taking: asyncio.Task[NewMessage] | None = None

    async def inform(self, reply: Reply) -> Call:
        """The request with what is known of the person; the reply's header tells how much that is."""
        if not self._said:
            return self._call
        try:
            async with asyncio.timeout(self._rules.timeout_s):
                told = await self._told(self._said)
        except AWAY as problem:  # a timeout is one of them
            log.warning("a chat is answered without memory: %r", problem)
            reply.add_header(HEADER, b"away")
            return self._call
        reply.add_header(HEADER, b"recalled=%d" % len(self._given))
        self._taking = asyncio.create_task(self._take(self._said))
        return told

    async def keep(self, reply: Reply) -> None:
        """Take in what was said and answered; whatever the database does, the client has its answer."""
        if self._taking is None:
            return
        try:
            turn = await self._taking
            answer = _answer(reply) if reply.started and reply.is_kept else None
            if answer is not None:
                id_, text = answer
                said = NewMessage(id_, FRIEND, text, max(self._now(), turn.said_at))
                await self._store.answered(self._owner, self._conversation, said, self._given, answers=turn.external_id)
        except AWAY as problem:
            log.error("an exchange was not remembered: %r", problem)

    async def _told(self, question: str) -> Call:
        owner, rules = self._owner, self._rules
        profile, pinned = await self._store.brief(owner)
        self._speaker = profile.name or PERSON
        found = await self._store.recall(owner, question[-LONGEST_QUESTION:], limit=rules.most, asker=self._speaker)
        told = {text_of(each).strip() for each in self._messages} | {each.text for each in pinned}
        fresh = [each for each in found if each.ranked.item.text.strip() not in told]
        fit = {id(each) for each in within_budget([each.ranked for each in fresh], rules.recalled_tokens, self._count)}
        recalled = [each for each in fresh if id(each.ranked) in fit]
        self._given = [given_of(rank, each) for rank, each in enumerate(recalled, 1)]
        self._given += [_always(rank, each.id) for rank, each in enumerate(pinned, len(recalled) + 1)]
        always, now = profile_lines(profile, pinned), recalled_lines(recalled)
        messages = with_past(self._messages, always, now, place=rules.place)
        return replace(self._call, parsed={**self._call.parsed, "messages": messages})

    async def _take(self, said: str) -> NewMessage:
        now = self._now()
        turn = NewMessage(_turn_id(self._messages, now), self._speaker, said, now)
        await self._store.ingest(self._owner, self._conversation, [turn])
        return turn


def _last_said(messages: Sequence[Any]) -> str:
    """The words of the person's last message; empty when there are none."""
    return next((text_of(each) for each in reversed(messages) if each.get("role") == "user"), "").strip()


def _turn_id(messages: Sequence[Any], now: datetime) -> str:
    """An external id for the person's last message, which tells nothing of it."""
    spoken = [[each["role"], text_of(each)] for each in messages if each.get("role") in (PERSON, FRIEND)]
    last = max(index for index, (role, _) in enumerate(spoken) if role == PERSON)
    heard = orjson.dumps([int(now.timestamp()) // REPEATED_S, spoken[: last + 1]])
    return f"said-{hashlib.blake2b(heard, digest_size=16).hexdigest()}"


def _always(rank: int, memory_id: str) -> Given:
    return Given("memory", memory_id, rank, 0.0, {}, {"pinned": 1.0})


def _answer(reply: Reply) -> tuple[str, str] | None:
    """Id and words of a reply, as far as it came; None when it has no words."""
    body = b"".join(reply.sent)
    events = events_of([body]) if not body.startswith(b"{") else [orjson.loads(body)]
    texts = []
    for event in events:
        for choice in event.get("choices") or ():
            told = choice.get("delta") or choice.get("message") or {}
            if choice.get("index", 0) == 0 and isinstance(told.get("content"), str):
                texts.append(told["content"])
    text = "".join(texts).strip()
    return (events[0]["id"], text) if text else None
