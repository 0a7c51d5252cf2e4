"""Executes an intent about memory (`memory.intents.detector`).

`memory.intents.reach` finds the items. The message with the intent is treated like the items that it names; a message
that only refers to the previous turn stays. Forgotten items are set aside for a time, because nobody confirmed the
intent: the person can restore them, and afterwards they are deleted permanently (`jobs.set_aside`), or at once if the
time is zero. A muted topic stays muted for later turns (`storage.memory.mutes.topics`). This module does not know
where an intent comes from, or what the reply says about it.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.erasure import Forgetter, Receipt
from memory.intents.detector import Forget, ForgetAll, Intent, Lift, Mute, Remember, Undo, is_pointing
from memory.intents.matching import Matcher
from memory.intents.reach import Reach, reach
from memory.service import MemoryService
from storage.memory.conversations import MessageRecord, find_messages, last_exchange
from storage.memory.deletion import Touched
from storage.memory.memories import NewMemory
from storage.memory.mutes.topics import NewTopic
from storage.memory.owner import Owner
from storage.memory.people import PERSON, names_of, read_profile
from storage.memory.set_aside import Aside, list_wishes

UNDO = timedelta(hours=24)
MAX_POINTING = 20  # requests about "that" in a row
AT_ONCE = 200  # items set aside in one transaction
Kind = Literal["remember", "forget", "mute", "lift", "undo"]


@dataclass(frozen=True, slots=True)
class Done:
    """The result of an intent.

    Attributes:
        kind: of the intent.
        count: how many items were remembered, forgotten, muted or put back. A turn and the memories that quote it count
            as one, the intent's own message does not count. 0: nothing was found.
        left: how many more were found, beyond the limit of one intent.
        turns: the ids of the turns.
        memories: the ids of the memories.
        receipt: of the forgotten items; `kept` counts those that are set aside.
        undo: the id under which they can be restored until `undo_until`; None: they are deleted.
        about: what the person named, in their words.

    """

    kind: Kind
    count: int
    left: int = 0
    turns: tuple[str, ...] = ()
    memories: tuple[str, ...] = ()
    receipt: Receipt | None = None
    undo: str | None = None
    undo_until: datetime | None = None
    about: str | None = None


class IntentExecutor:
    """Executes intents, on one database.

    Args:
        engine: the database.
        store: people's pasts.
        forgetter: deletes items.
        now: the time, aware.
        undo: how long forgotten items can be restored; zero: not at all, except that what only a model found can be
            restored for UNDO.

    """

    def __init__(
        self,
        engine: AsyncEngine,
        store: MemoryService,
        forgetter: Forgetter,
        now: Callable[[], datetime],
        *,
        undo: timedelta = UNDO,
    ) -> None:
        self._engine = engine
        self._store = store
        self._forgetter = forgetter
        self._now = now
        self._undo = undo

    async def execute(self, owner: Owner, intent: Intent, *, conversation: str, message_id: str | None) -> Done | None:
        """Execute it, once: a repeated "forget that" would refer to an earlier turn. None: it does not concern memory.

        Args:
            owner: whose memory.
            intent: what to do.
            conversation: the application's id of the conversation.
            message_id: the stored message with the intent; None: it was not stored.

        Raises:
            NotVerbatim: the words to remember are not in that message.

        """
        own = None if message_id is None else (await find_messages(self._engine, owner, [message_id])).get(message_id)
        if message_id is not None and own is None:  # forgotten meanwhile: it may have been named
            return Done(_KINDS[type(intent)], 0)
        match intent:
            case Remember(quote):
                return await self._remember(owner, quote, own, conversation)
            case Forget(about):
                found = await self._reach(owner, intent, own, conversation)
                return await self._forget(owner, about, found, own, by_model=intent.by_model)
            case ForgetAll():
                items = await self._store.everything(owner)
                turns, memories = (tuple(id_ for kind, id_ in items if kind == one) for one in ("turn", "memory"))
                return await self._forget(owner, None, Reach(turns, memories), own)
            case Mute(about):
                found = await self._reach(owner, intent, own, conversation)
                muted = await self._store.mute(owner, turns=found.turns, memories=found.memories, topic=_topic(intent))
                return Done("mute", _count(muted, own), found.left, muted.turns, muted.memories, about=about)
            case Lift(about):
                found = await self._reach(owner, intent, None, conversation)
                lifted = await self._store.lift(owner, about, turns=found.turns, memories=found.memories)
                return None if lifted is None else Done("lift", lifted, about=about)
            case Undo():
                return await self._put_back(owner)

    async def again(self, owner: Owner, intent: Intent) -> None:
        """The same message has come again: nothing is done twice, but what could not be done to its end is."""
        if isinstance(intent, Forget | ForgetAll):
            await self._forgetter.finish(owner)

    async def _forget(
        self, owner: Owner, about: str | None, found: Reach, own: MessageRecord | None, *, by_model: bool = False
    ) -> Done:
        if not found:
            await self._forgetter.finish(owner)
            return Done("forget", 0, about=about)
        undo = UNDO if by_model and not self._undo else self._undo
        until = self._now() + undo
        aside = Aside(secrets.token_hex(8), until) if undo else None
        turns, memories = list(found.turns), list(found.memories)
        gone, receipt = Touched(), None
        while receipt is None or turns or memories:
            some, turns = turns[:AT_ONCE], turns[AT_ONCE:]
            more, memories = memories[:AT_ONCE], memories[AT_ONCE:]
            touched, receipt = await self._forgetter.items(owner, turns=some, memories=more, aside=aside)
            gone = gone.with_(touched)
        if about is not None:
            await self._store.lift(owner, about)  # its words must not stay, not even as what is not to be brought up
        wish_id, undo_until = (aside.wish_id, until) if aside else (None, None)
        return Done(
            "forget", _count(gone, own), found.left, gone.turns, gone.memories, receipt, wish_id, undo_until, about
        )

    async def _put_back(self, owner: Owner) -> Done | None:
        wishes = await list_wishes(self._engine, owner, now=self._now())
        back = await self._store.undo(owner, wishes[0].id) if wishes else None
        return None if back is None else Done("undo", back.turns + back.memories)

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

    async def _reach(
        self, owner: Owner, intent: Forget | Mute | Lift, own: MessageRecord | None, conversation: str
    ) -> Reach:
        """The turns and memories that an intent reaches, with its own message if it names it."""
        about = intent.about
        if about is None:
            before = await self._before(owner, own, conversation)
            return Reach(tuple(each.id for each in before))
        person = names_of(owner, (await read_profile(self._engine, owner)).name)
        person |= {own.speaker.casefold()} if own else set()
        is_clause = isinstance(intent, Forget) and intent.is_clause
        matcher = Matcher(about, is_clause=is_clause, language=intent.language, names=person)
        return await reach(self._store, owner, matcher, about, person=person, itself=own.id if own else None)

    async def _before(self, owner: Owner, own: MessageRecord | None, conversation: str) -> Sequence[MessageRecord]:
        """The person's last turn and the reply to it; turns that only refer to another are skipped."""
        speaker = await self._speaker(owner, own)
        before = None if own is None else own.id
        for _ in range(MAX_POINTING):
            found = await last_exchange(self._engine, owner, conversation, speaker=speaker, before=before)
            if not found or not is_pointing(found[0].text):
                return found
            before = found[0].id
        return ()

    async def _speaker(self, owner: Owner, own: MessageRecord | None) -> str:
        if own is not None:
            return own.speaker
        return (await read_profile(self._engine, owner)).name or PERSON


_KINDS: dict[type[Intent], Kind] = {
    Remember: "remember",
    Forget: "forget",
    ForgetAll: "forget",
    Mute: "mute",
    Lift: "lift",
    Undo: "undo",
}


def _topic(intent: Mute) -> NewTopic | None:
    return None if intent.about is None else NewTopic(intent.about, intent.language)


def _count(touched: Touched, own: MessageRecord | None) -> int:
    turns = [id_ for id_ in touched.turns if own is None or id_ != own.id]
    return len(turns) + len(set(touched.memories) - touched.drawn)
