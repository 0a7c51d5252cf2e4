"""Does what a person wishes of their friend's memory (`memory.wishes`), at once.

What a wish is about is found by its words: the turns and memories that have every one of them, words of grammar aside
and stemmed (`memory.lexical`). That finds too little rather than too much, and anybody can see why something was found.
What others say goes along when it would still tell of that (`memory.view.View.echoes`): replies above all.
A wish shares the fate of what it names, because it names it; one that only points at the turn before stays. What it
forgets is set aside for UNDO, because nobody looked at what was found: the person can have it back, and afterwards it
is deleted for good (`jobs.set_aside`). It does not know where a wish comes from, nor what the person is told of it.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.forget import Forgetter, Receipt
from memory.store import Store
from memory.wishes import Forget, Mute, Remember, Wish
from storage.conversations import MessageRecord, find_messages, last_exchange
from storage.forgetting import Touched
from storage.memories import NewMemory
from storage.memory_schema import ItemKind
from storage.owner import Owner
from storage.people import PERSON, names_of, read_profile
from storage.set_aside import Aside

UNDO = timedelta(hours=24)
MOST = 50  # things that one wish reaches, the newest, and as many turns of others that go along


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a wish.

    Attributes:
        kind: of the wish.
        count: how many things were remembered, forgotten or muted: a turn with what quotes it is one, and the wish's
            own message none. 0: nothing was found.
        left: how many more were found that one wish does not reach; another does.
        turns: the ids of the turns.
        memories: the ids of the memories.
        receipt: of what was forgotten; `kept` counts what is set aside.
        undo: by which id what was forgotten can be put back for UNDO.

    """

    kind: Literal["remember", "forget", "mute"]
    count: int
    left: int = 0
    turns: tuple[str, ...] = ()
    memories: tuple[str, ...] = ()
    receipt: Receipt | None = None
    undo: str | None = None


class Wishes:
    """Obeys, on one database.

    Args:
        engine: the database.
        store: people's pasts.
        forgetter: forgets.
        now: the time, aware.

    """

    def __init__(self, engine: AsyncEngine, store: Store, forgetter: Forgetter, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._store = store
        self._forgetter = forgetter
        self._now = now

    async def obey(self, owner: Owner, wish: Wish, *, conversation: str, message_id: str | None) -> Done:
        """Do it, once: asked again after its message has stayed, "forget that" would point at an earlier turn.

        Args:
            owner: who wishes.
            wish: what.
            conversation: where, by the application's name for it.
            message_id: the message that says so, as it was taken in; None: it was not.

        Raises:
            NotVerbatim: what is to be remembered does not stand in that message.

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
            said = hashlib.blake2b(f"{source.id} {quote}".encode(), digest_size=16).hexdigest()
            new = NewMemory(quote, quote=quote, message_id=source.id)
            record, _ = await self._store.add(owner, new, id_=f"wish-{said}")
        return Done("remember", 1, memories=(record.id,))

    async def _find(
        self, owner: Owner, about: str | None, own: MessageRecord | None, conversation: str
    ) -> tuple[list[str], list[str], int]:
        """The turns and the memories that a wish is about, itself included if it names it; how many more there are."""
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


_KINDS: dict[type[Wish], Literal["remember", "forget", "mute"]] = {Remember: "remember", Forget: "forget", Mute: "mute"}


def _count(touched: Touched, own: MessageRecord | None) -> int:
    turns = [id_ for id_ in touched.turns if own is None or id_ != own.id]
    return len(turns) + len(set(touched.memories) - touched.drawn)
