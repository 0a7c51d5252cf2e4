"""Executes an intent about memory (`memory.intents.detector`) at once.

It reaches the turns and memories that contain every word of the intent, without grammatical words and after stemming
(`memory.recall.bm25`). That finds too little rather than too much, and it is easy to see why something was found. Turns
of others are included if they would still reveal it (`memory.recall.person_index.PersonIndex.echoes`), mostly replies.
The message with the intent is treated like the items that it names; one that only points at the turn before stays.
Forgotten items are set aside for UNDO, because nobody has confirmed them: the person can restore them, and afterwards
they are deleted for good (`jobs.set_aside`). This module does not know where an intent comes from, or what the person
is told about it.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.erasure import Forgetter, Receipt
from memory.intents.detector import Forget, Intent, Mute, Remember
from memory.service import MemoryService
from storage.memory.conversations import MessageRecord, find_messages, last_exchange
from storage.memory.deletion import Touched
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from storage.memory.people import PERSON, names_of, read_profile
from storage.memory.set_aside import Aside
from storage.memory.tables import ItemKind

UNDO = timedelta(hours=24)
MOST = 50  # things that one wish reaches, the newest, and as many turns of others that go along


@dataclass(frozen=True, slots=True)
class Done:
    """The result of an intent.

    Attributes:
        kind: of the intent.
        count: how many items were remembered, forgotten or muted. A turn and the memories that quote it count as one,
            the intent's own message does not count. 0: nothing was found.
        left: how many more were found, beyond the limit of one intent.
        turns: the ids of the turns.
        memories: the ids of the memories.
        receipt: of the forgotten items; `kept` counts those that are set aside.
        undo: the id under which they can be restored for UNDO.

    """

    kind: Literal["remember", "forget", "mute"]
    count: int
    left: int = 0
    turns: tuple[str, ...] = ()
    memories: tuple[str, ...] = ()
    receipt: Receipt | None = None
    undo: str | None = None


class IntentExecutor:
    """Executes intents, on one database.

    Args:
        engine: the database.
        store: people's pasts.
        forgetter: deletes items.
        now: the time, aware.

    """

    def __init__(
        self, engine: AsyncEngine, store: MemoryService, forgetter: Forgetter, now: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._store = store
        self._forgetter = forgetter
        self._now = now

    async def execute(self, owner: Owner, wish: Intent, *, conversation: str, message_id: str | None) -> Done:
        """Execute it, once: a repeated "forget that" would point at an earlier turn.

        Args:
            owner: whose memory.
            wish: the intent.
            conversation: the application's id of the conversation.
            message_id: the stored message with the intent; None: it was not stored.

        Raises:
            NotVerbatim: the words to remember are not in that message.

        """
        own = None if message_id is None else (await find_messages(self._engine, owner, [message_id])).get(message_id)
        if message_id is not None and own is None:  # forgotten meanwhile: it may have been named
            return Done(_KINDS[type(wish)], 0)
        match wish:
            case Remember(quote):
                return await self._remember(owner, quote, own, conversation)
            case Forget(about):
                turns, memories, left = await self._find(owner, about, own, conversation)
                if not turns and not memories:
                    return Done("forget", 0)
                aside = Aside(secrets.token_hex(8), self._now() + UNDO)
                gone, receipt = await self._forgetter.items(owner, turns=turns, memories=memories, aside=aside)
                return Done("forget", _count(gone, own), left, gone.turns, gone.memories, receipt, aside.wish_id)
            case Mute(about):
                turns, memories, left = await self._find(owner, about, own, conversation)
                muted = await self._store.mute(owner, turns=turns, memories=memories)
                return Done("mute", _count(muted, own), left, muted.turns, muted.memories)

    async def _remember(self, owner: Owner, quote: str | None, own: MessageRecord | None, conversation: str) -> Done:
        source = own
        if quote is None:
            before = await self._before(owner, own, conversation)
            if not before:
                return Done("remember", 0)
            source = before[0]
            quote = source.text
        if source is None:
            record, _ = await self._store.add(owner, NewMemory(quote, speaker=await self._speaker(owner, None)))
        else:
            statement_hash = hashlib.blake2b(f"{source.id} {quote}".encode(), digest_size=16).hexdigest()
            new = NewMemory(quote, quote=quote, message_id=source.id)
            record, _ = await self._store.add(owner, new, id_=f"wish-{statement_hash}")
        return Done("remember", 1, memories=(record.id,))

    async def _find(
        self, owner: Owner, about: str | None, own: MessageRecord | None, conversation: str
    ) -> tuple[list[str], list[str], int]:
        """The turns and memories that an intent reaches, with its own message if it names it; how many are left."""
        if about is None:
            before = await self._before(owner, own, conversation)
            return [each.id for each in before], [], 0
        found = await self._store.holding(owner, about)
        itself: list[tuple[ItemKind, str]] = [] if own is None else [("turn", own.id)]
        found = [each for each in found if each not in itself]
        reached, echoes = found[:MOST], list[str]()
        if reached:
            person = names_of(owner, (await read_profile(self._engine, owner)).name)
            person |= {own.speaker.casefold()} if own else set()
            echoes = await self._store.echoes(owner, about, [*reached, *itself], person)
        turns = [id_ for kind, id_ in [*reached, *itself] if kind == "turn"] + echoes[:MOST]
        left = len(found[MOST:]) + len(echoes[MOST:])
        return turns, [id_ for kind, id_ in reached if kind == "memory"], left

    async def _before(self, owner: Owner, own: MessageRecord | None, conversation: str) -> Sequence[MessageRecord]:
        speaker = await self._speaker(owner, own)
        return await last_exchange(
            self._engine, owner, conversation, speaker=speaker, before=None if own is None else own.id
        )

    async def _speaker(self, owner: Owner, own: MessageRecord | None) -> str:
        if own is not None:
            return own.speaker
        return (await read_profile(self._engine, owner)).name or PERSON


_KINDS: dict[type[Intent], Literal["remember", "forget", "mute"]] = {
    Remember: "remember",
    Forget: "forget",
    Mute: "mute",
}


def _count(touched: Touched, own: MessageRecord | None) -> int:
    turns = [id_ for id_ in touched.turns if own is None or id_ != own.id]
    return len(turns) + len(set(touched.memories) - touched.drawn)
