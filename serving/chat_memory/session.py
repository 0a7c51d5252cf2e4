"""Memory of one chat request: recalls the person's past for it, and stores its turns.

The user's message is stored while the model answers, the reply with its context (`why`) when it has ended. Only the
last user message is stored: earlier ones were stored with their own requests, or can be added with POST
/api/v1/conversations. The same conversation up to the same message within REPEATED_S counts as one turn: the user asked
for another answer, which takes the earlier one's place. In a conversation that the request names, an edited message
takes the place of the one that it was, if that is certain (`storage.memory.turns.place`). If the database does not
answer in time, a chat is answered without memory; its turns are stored all the same, unless that fails too. A reply
that was lost with its process is stored with the next request, if that has it.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import orjson

from memory.embedding.parts import parts_of
from memory.intents.detector import Detected, Forget, ForgetAll, Intent, Remember, Unclear, detect
from memory.intents.executor import Done, IntentExecutor
from memory.language.small_talk import is_small_talk
from memory.recall.duplicates import without_duplicates
from memory.recall.excerpts import excerpt
from memory.recall.token_budget import within_budget
from memory.schemas import as_words
from memory.service import MemoryService, Recalled, context_item
from serving.chat_memory.intent_model import AskModel, detected
from serving.chat_memory.prompt import (
    NOT_DONE,
    UNCLEAR,
    fitting,
    note_of,
    profile_lines,
    recalled_lines,
    text_of,
    with_past,
)
from serving.config.schema import ChatMemorySettings
from serving.privacy.markers import FIELD
from serving.protocol.request import DEFAULT_CONVERSATION, GenerationRequest
from serving.protocol.response import ResponseWriter
from serving.protocol.sse import events_of
from storage.database import AWAY
from storage.memory.conversations import Ingested, MessageRecord, NewMessage
from storage.memory.memories import MemoryRecord, Scope
from storage.memory.owner import Owner
from storage.memory.people import Profile
from storage.memory.reply_context import ContextItem
from storage.memory.turns.once import Carried, Former, Said
from storage.memory.turns.place import Earlier

log = logging.getLogger(__name__)

HEADER = b"x-bondhu-memory"
PERSON, FRIEND = "user", "assistant"  # names of the speakers if the profile has no name
REPEATED_S = 600
_PAST = {"remember": b"remembered", "forget": b"forgot", "mute": b"muted", "lift": b"lifted", "undo": b"restored"}
Clock = Callable[[], datetime]
LONGEST_QUESTION = 2000  # characters at the end of a message that are used as the query


class ChatMemory:
    """The memory of one request.

    Args:
        store: the memory service.
        executor: executes a person's intents, such as "forget that".
        rules: how much is added to the prompt.
        request: the request; it must have a user and a conversation.
        count: estimates the tokens of a text.
        now: the current time, timezone-aware.
        ask: asks a model that detects requests about memory; None: the patterns alone do.

    """

    def __init__(
        self,
        store: MemoryService,
        executor: IntentExecutor,
        rules: ChatMemorySettings,
        request: GenerationRequest,
        count: Callable[[str], int],
        now: Clock,
        ask: AskModel | None = None,
    ) -> None:
        assert request.user is not None, "a request with memory has a user"
        assert request.conversation is not None, "a request with memory has a conversation"
        self._store = store
        self._executor = executor
        self._rules = rules
        self._request = request
        self._count = count
        self._now = now
        self._ask = ask
        self._owner = Owner(request.app, request.user)
        self._conversation = request.conversation
        self._exchange = store.exchange(self._owner, request.conversation)
        self._scope = Scope(_persona_of(request), request.conversation)
        messages = request.parsed["messages"]
        is_readable = isinstance(messages, list) and all(isinstance(message, dict) for message in messages)
        self._messages: Sequence[Any] = messages if is_readable else ()  # the engine refuses anything else
        self._last_text = _last_user_text(self._messages)
        self._speaker = PERSON
        self._forgets = False  # the reply is not stored then, because it may repeat what was forgotten
        self._context: list[ContextItem] = []
        self._done = b""  # the executed intent, for the header
        self._salt = ""
        self._taking: asyncio.Task[tuple[NewMessage, Ingested]] | None = None

    def begin(self) -> None:
        """Store the person's message, and nothing else: the answer does not wait for memory."""
        if self._last_text:
            self._taking = self._taking or asyncio.create_task(self._take(self._last_text))

    async def augment(self, response: ResponseWriter) -> GenerationRequest:
        """The request with memory added to its messages; a response header says how much was recalled.

        An intent in the message (such as "forget that") is executed before the model answers. If there may be one, the
        model is told to ask, and that nothing was done.
        """
        if not self._last_text:
            return self._request
        is_said_now = self._messages[-1].get("role") == PERSON
        found = await detected(self._last_text, self._ask, response.record) if is_said_now else None
        intent = None if isinstance(found, Unclear) else found
        self._forgets = isinstance(intent, Forget | ForgetAll)
        self._salt = _salt(self._messages, found)
        try:
            done = None if intent is None else await self._execute(intent)
            notes = [UNCLEAR] if isinstance(found, Unclear) else [] if done is None else [note_of(done)]
            async with asyncio.timeout(self._rules.timeout_s):
                augmented = await self._build(self._last_text, done, notes)
        except AWAY as problem:  # a timeout is one of them
            log.warning("chat without memory: %r", problem)
            response.add_header(HEADER, b"away")
            self.begin()  # what is slow to recall from may still store
            return self._request if intent is None else self._with([], [], [NOT_DONE])
        self._done = b"" if done is None else b", %s=%d" % (_PAST[done.kind], done.count)
        self._done += b"" if done is None or not done.count or done.undo is None else b", undo=%s" % done.undo.encode()
        self._announce(response)
        self._taking = self._taking or asyncio.create_task(self._take(self._last_text))
        return augmented

    def _announce(self, response: ResponseWriter) -> None:
        """Set the header with the number of recalled items."""
        response.add_header(HEADER, b"recalled=%d" % len(self._context) + self._done)

    async def remember(self, response: ResponseWriter) -> None:
        """Store the message and the reply; database errors are only logged, since the client has its response."""
        if self._taking is None:
            return
        try:
            turn, _ = await self._taking
            answer = _answer(response) if response.started and response.is_kept and not self._forgets else None
            if answer is not None:
                id_, text = answer
                reply_turn = NewMessage(id_, FRIEND, text, max(self._now(), turn.said_at))
                await self._exchange.store_reply(reply_turn, self._context, answers=turn.external_id)
            await self._exchange.end()
        except AWAY as problem:
            log.error("a turn could not be stored in memory: %r", problem)

    async def _execute(self, intent: Intent) -> Done | None:
        """Store the message and execute its intent once; None if that was done before."""
        profile, _ = await self._store.brief(self._owner)
        self._speaker = profile.name or PERSON
        self._taking = asyncio.create_task(self._take(self._last_text))
        turn, taken = await self._taking
        if turn.external_id not in taken.added:
            await self._executor.again(self._owner, intent)
            return None
        id_ = taken.ids[turn.external_id]
        return await self._executor.execute(self._owner, intent, conversation=self._conversation, message_id=id_)

    async def _build(self, question: str, done: Done | None, notes: Sequence[str]) -> GenerationRequest:
        profile, pinned = self._fitting(*await self._brief(self._scope))
        recalled = await self._recall(question, pinned, done)
        return self._with(profile_lines(profile, pinned), recalled_lines(recalled), notes)

    async def _brief(self, scope: Scope | None) -> tuple[Profile, list[MemoryRecord]]:
        """The profile and the pinned memories of a scope, which are always in the prompt."""
        profile, pinned = await self._store.brief(self._owner, scope)
        self._speaker = profile.name or PERSON
        country = profile.details.get("country")
        if self._request.country is None and isinstance(country, str):
            self._request = replace(self._request, country=country)
        return profile, pinned

    def _fitting(self, profile: Profile, pinned: Sequence[MemoryRecord]) -> tuple[Profile, list[MemoryRecord]]:
        """As much of both as the prompt has room for."""
        return fitting(profile, pinned, self._rules.profile_tokens, self._count)

    async def _recall(self, question: str, pinned: Sequence[MemoryRecord], done: Done | None) -> list[Recalled]:
        """Recall items for a question; with the pinned memories they become the reply's context."""
        rules, query = self._rules, question[-LONGEST_QUESTION:]
        found: list[Recalled] = []
        if not is_small_talk(query):
            found = await self._store.recall(
                self._owner,
                query,
                limit=2 * rules.max_items,  # of which some may say the same
                speaker=self._speaker,
                min_relevance=rules.min_relevance,
                scope=self._scope,
                exchange=self._exchange,
            )
        shown = {text_of(message).strip() for message in self._messages} | {memory.text for memory in pinned}
        left_out = () if done is None else done.memories
        fresh = [
            item for item in found if item.record.id not in left_out and item.ranked.item.text.strip() not in shown
        ]
        if any(isinstance(item.record, MessageRecord) for item in fresh):  # an earlier answer is none of its past
            replaced = await self._exchange.replaced_by(self._said(self._last_text))
            fresh = [item for item in fresh if item.record.id not in replaced]
        fresh = list(islice(without_duplicates(fresh, lambda item: item.ranked.item.text), rules.max_items))
        fresh = [each for item in fresh if (each := self._excerpted(item, query)).record.text]
        within = within_budget([item.ranked for item in fresh], rules.recalled_tokens, self._count)
        fit = {id(ranked) for ranked in within}
        recalled = [item for item in fresh if id(item.ranked) in fit]
        self._context = [context_item(rank, item) for rank, item in enumerate(recalled, 1)]
        self._context += [_always(rank, memory.id) for rank, memory in enumerate(pinned, len(recalled) + 1)]
        return recalled

    def _excerpted(self, recalled: Recalled, query: str) -> Recalled:
        """The item, by the part that the question is about if it is longer than half of the budget."""
        item, part = recalled.ranked.item, recalled.ranked.part
        near = None if part is None else parts_of(item.text)[part]
        text = excerpt(item.text, query, self._rules.recalled_tokens // 2, self._count, near)
        if text == item.text:
            return recalled
        ranked = replace(recalled.ranked, item=replace(item, text=text))
        return Recalled(replace(recalled.record, text=text), ranked)

    def _with(self, profile: Sequence[str], recalled: Sequence[str], notes: Sequence[str]) -> GenerationRequest:
        messages = with_past(self._messages, profile, recalled, notes, place=self._rules.place)
        return replace(self._request, parsed={**self._request.parsed, "messages": messages})

    async def _take(self, text: str) -> tuple[NewMessage, Ingested]:
        """Store the turn, or find it: what was said within REPEATED_S has the id of now or the one before."""
        said = self._said(text)
        return await self._exchange.store_message(said, _carried(self._messages))

    def _said(self, text: str) -> Said:
        now = self._now()
        since = now - timedelta(seconds=REPEATED_S)
        turn = NewMessage(_turn_id(self._messages, now, self._salt), self._speaker, text, now)
        former = Former(_turn_id(self._messages, since, self._salt), since)
        is_named = self._conversation != DEFAULT_CONVERSATION
        return Said(turn, former, _earlier(self._messages) if is_named else None)


def _persona_of(request: GenerationRequest) -> str | None:
    """The persona that the request names for the chat agent."""
    own = request.parsed.get(FIELD)
    named = own.get("persona") if isinstance(own, dict) else None
    return named if isinstance(named, str) else None


def _last_user_text(messages: Sequence[Any]) -> str:
    """The text of the last user message; empty without one."""
    return as_words(next((text_of(message) for message in reversed(messages) if message.get("role") == PERSON), ""))


def _carried(messages: Sequence[Any]) -> Carried | None:
    """The exchange directly before the last message; None if there is none, or its reply is not to be stored."""
    spoken = [message for message in messages if message.get("role") in (PERSON, FRIEND)][-3:]
    if [message["role"] for message in spoken] != [PERSON, FRIEND, PERSON]:
        return None
    asked, reply = (as_words(text_of(message)) for message in spoken[:2])
    return None if not reply or isinstance(detect(asked), Forget | ForgetAll) else Carried(asked, reply, FRIEND)


def _earlier(messages: Sequence[Any]) -> Earlier | None:
    """What stands before the last message, if that is the person's and at least one whole exchange does."""
    spoken = [message for message in messages if message.get("role") in (PERSON, FRIEND)]
    said = [(as_words(text_of(each)), each["role"] == FRIEND) for each in spoken]
    lines = tuple(line for line in said[:-1] if line[0])
    is_exchange = [is_reply for _, is_reply in lines[-2:]] == [False, True]
    return Earlier(lines, FRIEND) if is_exchange and not said[-1][1] else None


def _salt(messages: Sequence[Any], found: Detected | None) -> str:
    """Random for an intent that came without the turns before it: said twice, it means two things."""
    is_alone = sum(message.get("role") in (PERSON, FRIEND) for message in messages) == 1
    return secrets.token_hex(8) if is_alone and found is not None and not isinstance(found, Remember | Unclear) else ""


def _turn_id(messages: Sequence[Any], now: datetime, salt: str) -> str:
    """An external id for the last user message: a digest that reveals nothing of its text."""
    spoken = [[message["role"], text_of(message)] for message in messages if message.get("role") in (PERSON, FRIEND)]
    last = max(index for index, (role, _) in enumerate(spoken) if role == PERSON)
    source = orjson.dumps([int(now.timestamp()) // REPEATED_S, spoken[: last + 1], *([salt] if salt else [])])
    return f"said-{hashlib.blake2b(source, digest_size=16).hexdigest()}"


def _always(rank: int, memory_id: str) -> ContextItem:
    return ContextItem("memory", memory_id, rank, 0.0, {}, {"pinned": 1.0})


def _answer(response: ResponseWriter) -> tuple[str, str] | None:
    """Id and text of a reply, which may be incomplete; None if it has no text."""
    body = b"".join(response.sent)
    events = events_of([body]) if not body.startswith(b"{") else [orjson.loads(body)]
    texts = []
    for event in events:
        for choice in event.get("choices") or ():
            message = choice.get("delta") or choice.get("message") or {}
            if choice.get("index", 0) == 0 and isinstance(message.get("content"), str):
                texts.append(message["content"])
    text = as_words("".join(texts))
    return (events[0]["id"], text) if text else None
