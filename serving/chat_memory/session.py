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

from memory.intents.detector import Forget, Intent, intent_of
from memory.intents.executor import Done, IntentExecutor
from memory.recall.token_budget import within_budget
from memory.schemas import as_words
from memory.service import MemoryService, Recalled, given_of
from serving.chat_memory.prompt import NOT_DONE, note_of, profile_lines, recalled_lines, text_of, with_past
from serving.config.schema import ChatMemorySettings
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter
from serving.protocol.sse import events_of
from storage.database import AWAY
from storage.memory.conversations import Ingested, NewMessage
from storage.memory.memories import MemoryRecord
from storage.memory.owner import Owner
from storage.memory.people import Profile
from storage.memory.reply_context import ContextItem

log = logging.getLogger(__name__)

HEADER = b"x-bondhu-memory"
PERSON, FRIEND = "user", "assistant"  # as speakers, where a profile has no name
REPEATED_S = 600
_PAST = {"remember": b"remembered", "forget": b"forgot", "mute": b"muted"}
Clock = Callable[[], datetime]
LONGEST_QUESTION = 2000  # characters of a message that are looked for: its end, where a question is


class ChatMemory:
    """A request's.

    Args:
        store: people's pasts.
        wishes: does what a person wishes of theirs.
        rules: how much of one a model is told.
        call: the request, with a user and a conversation.
        count: a text's tokens, about.
        now: the time, aware.

    """

    def __init__(
        self,
        store: MemoryService,
        wishes: IntentExecutor,
        rules: ChatMemorySettings,
        call: GenerationRequest,
        count: Callable[[str], int],
        now: Clock,
    ) -> None:
        assert call.user is not None, "who asks for memory says whose"
        assert call.conversation is not None, "and where"
        self._store = store
        self._wishes = wishes
        self._rules = rules
        self._call = call
        self._count = count
        self._now = now
        self._owner = Owner(call.app, call.user)
        self._conversation = call.conversation
        messages = call.parsed["messages"]
        is_readable = isinstance(messages, list) and all(isinstance(each, dict) for each in messages)
        self._messages: Sequence[Any] = messages if is_readable else ()  # what is not, its engine refuses
        self._said = _last_said(self._messages)
        self._speaker = PERSON
        self._forgets = False  # then the reply may say again what was forgotten
        self._given: list[ContextItem] = []
        self._done = b""  # what was done as they wished, for the header
        self._taking: asyncio.Task[tuple[NewMessage, Ingested]] | None = None

    async def inform(self, reply: ResponseWriter) -> GenerationRequest:
        """The request with what is known of the person; the reply's header tells how much that is.

        What the person wishes of their friend's memory is done before the friend answers.
        """
        if not self._said:
            return self._call
        wish = intent_of(self._said) if self._messages[-1].get("role") == PERSON else None
        self._forgets = isinstance(wish, Forget)
        try:
            done = None if wish is None else await self._obey(wish)
            async with asyncio.timeout(self._rules.timeout_s):
                told = await self._told(self._said, done)
        except AWAY as problem:  # a timeout is one of them
            log.warning("a chat is answered without memory: %r", problem)
            reply.add_header(HEADER, b"away")
            return self._call if wish is None else self._with([], [], [NOT_DONE])
        self._done = b"" if done is None else b", %s=%d" % (_PAST[done.kind], done.count)
        self._done += b"" if done is None or not done.count or done.undo is None else b", undo=%s" % done.undo.encode()
        self._announce(reply)
        self._taking = self._taking or asyncio.create_task(self._take(self._said))
        return told

    def _announce(self, reply: ResponseWriter) -> None:
        """Tell the client how much is told of the person."""
        reply.add_header(HEADER, b"recalled=%d" % len(self._given) + self._done)

    async def keep(self, reply: ResponseWriter) -> None:
        """Take in what was said and answered; whatever the database does, the client has its answer."""
        if self._taking is None:
            return
        try:
            turn, _ = await self._taking
            answer = _answer(reply) if reply.started and reply.is_kept and not self._forgets else None
            if answer is not None:
                id_, text = answer
                said = NewMessage(id_, FRIEND, text, max(self._now(), turn.said_at))
                await self._store.answered(self._owner, self._conversation, said, self._given, answers=turn.external_id)
        except AWAY as problem:
            log.error("an exchange was not remembered: %r", problem)

    async def _obey(self, wish: Intent) -> Done | None:
        """Take in the message and do what it wishes, once; None when that was done before."""
        profile, _ = await self._store.brief(self._owner)
        self._speaker = profile.name or PERSON
        self._taking = asyncio.create_task(self._take(self._said))
        turn, taken = await self._taking
        if turn.external_id not in taken.added:
            return None
        id_ = taken.ids[turn.external_id]
        return await self._wishes.obey(self._owner, wish, conversation=self._conversation, message_id=id_)

    async def _told(self, question: str, done: Done | None) -> GenerationRequest:
        profile, pinned = await self._brief()
        recalled = await self._recall(question, pinned, done)
        notes = [] if done is None else [note_of(done)]
        return self._with(profile_lines(profile, pinned), recalled_lines(recalled), notes)

    async def _brief(self) -> tuple[Profile, list[MemoryRecord]]:
        """What is always told of them."""
        profile, pinned = await self._store.brief(self._owner)
        self._speaker = profile.name or PERSON
        country = profile.details.get("country")
        if self._call.country is None and isinstance(country, str):
            self._call = replace(self._call, country=country)
        return profile, pinned

    async def _recall(self, question: str, pinned: Sequence[MemoryRecord], done: Done | None) -> list[Recalled]:
        """What of their past belongs to a question; with what is pinned, it is what the reply was given."""
        rules, asked = self._rules, question[-LONGEST_QUESTION:]
        found = await self._store.recall(self._owner, asked, limit=rules.max_items, asker=self._speaker)
        told = {text_of(each).strip() for each in self._messages} | {each.text for each in pinned}
        made = () if done is None else done.memories
        fresh = [each for each in found if each.record.id not in made and each.ranked.item.text.strip() not in told]
        fit = {id(each) for each in within_budget([each.ranked for each in fresh], rules.recalled_tokens, self._count)}
        recalled = [each for each in fresh if id(each.ranked) in fit]
        self._given = [given_of(rank, each) for rank, each in enumerate(recalled, 1)]
        self._given += [_always(rank, each.id) for rank, each in enumerate(pinned, len(recalled) + 1)]
        return recalled

    def _with(self, profile: Sequence[str], recalled: Sequence[str], notes: Sequence[str]) -> GenerationRequest:
        messages = with_past(self._messages, profile, recalled, notes, place=self._rules.place)
        return replace(self._call, parsed={**self._call.parsed, "messages": messages})

    async def _take(self, said: str) -> tuple[NewMessage, Ingested]:
        now = self._now()
        turn = NewMessage(_turn_id(self._messages, now), self._speaker, said, now)
        return turn, await self._store.ingest(self._owner, self._conversation, [turn])


def _last_said(messages: Sequence[Any]) -> str:
    """The words of the person's last message; empty when there are none."""
    return as_words(next((text_of(each) for each in reversed(messages) if each.get("role") == PERSON), ""))


def _turn_id(messages: Sequence[Any], now: datetime) -> str:
    """An external id for the person's last message, which tells nothing of it."""
    spoken = [[each["role"], text_of(each)] for each in messages if each.get("role") in (PERSON, FRIEND)]
    last = max(index for index, (role, _) in enumerate(spoken) if role == PERSON)
    heard = orjson.dumps([int(now.timestamp()) // REPEATED_S, spoken[: last + 1]])
    return f"said-{hashlib.blake2b(heard, digest_size=16).hexdigest()}"


def _always(rank: int, memory_id: str) -> ContextItem:
    return ContextItem("memory", memory_id, rank, 0.0, {}, {"pinned": 1.0})


def _answer(reply: ResponseWriter) -> tuple[str, str] | None:
    """Id and words of a reply, as far as it came; None when it has no words."""
    body = b"".join(reply.sent)
    events = events_of([body]) if not body.startswith(b"{") else [orjson.loads(body)]
    texts = []
    for event in events:
        for choice in event.get("choices") or ():
            told = choice.get("delta") or choice.get("message") or {}
            if choice.get("index", 0) == 0 and isinstance(told.get("content"), str):
                texts.append(told["content"])
    text = as_words("".join(texts))
    return (events[0]["id"], text) if text else None
