"""What a person wishes of their friend's memory is done at once, to what they named and to nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.erasure import Forgetter
from memory.intents.detector import Forget, Intent, Mute, Remember, Undo
from memory.intents.executor import Done, IntentExecutor
from memory.intents.reach import MAX_ITEMS
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage.memory.conversations import NewMessage
from storage.memory.export import read_history
from storage.memory.memories import MemoryFilter, NewMemory, NotVerbatim, find_memories, list_memories
from storage.memory.owner import Owner
from storage.memory.people import Profile, read_version, write_profile
from tests.support.memory.intents import intent_of

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
PAST = (
    ("Ann", "I moved to Porto and live there now"),
    ("Friend", "How is it to live in Porto?"),
    ("Ann", "Porto is lovely"),
    ("Friend", "Do tell"),
)


class Chat:
    """A person's conversation with their friend."""

    def __init__(self, store: MemoryService, executor: IntentExecutor, engine: AsyncEngine, owner: Owner) -> None:
        self._store = store
        self._executor = executor
        self._engine = engine
        self._owner = owner
        self._turns = 0

    async def say(self, speaker: str, text: str) -> str:
        """Take in the next turn; return its id."""
        self._turns += 1
        turn = NewMessage(f"m{self._turns}", speaker, text, DAY + timedelta(minutes=self._turns))
        return (await self._store.ingest(self._owner, "c", [turn])).ids[turn.external_id]

    async def ask(self, text: str) -> Done:
        """Say it, and execute the intent in it."""
        intent = intent_of(text)
        assert intent is not None
        return await self.execute(intent, await self.say("Ann", text))

    async def execute(self, intent: Intent, message_id: str | None) -> Done:
        """Execute an intent."""
        done = await self._executor.execute(self._owner, intent, conversation="c", message_id=message_id)
        assert done is not None
        return done

    async def turns(self) -> list[str]:
        """Return all that was said and is not forgotten."""
        history = await read_history(self._engine, self._owner)
        return [turn.text for turns in history.conversations.values() for turn in turns]

    async def memories(self) -> list[str]:
        """Return what is remembered, oldest first."""
        return [each.text for each in (await read_history(self._engine, self._owner)).memories]

    async def recalled(self, question: str) -> set[str]:
        """Return what a question brings."""
        return {each.record.text for each in await self._store.recall(self._owner, question, limit=99)}


@pytest.fixture
def make_chat(
    store: MemoryService, engine: AsyncEngine, index_cache: IndexCache, clock: Callable[[], datetime]
) -> Callable[[Owner], Chat]:
    """Return what makes a conversation."""
    executor = IntentExecutor(engine, store, Forgetter(engine, index_cache, {}, clock), clock)
    return lambda owner: Chat(store, executor, engine, owner)


@pytest.fixture
async def chat(make_chat: Callable[[Owner], Chat], store: MemoryService) -> Chat:
    """Return Ann's conversation with a past; Ben has the same."""
    for owner in (BEN, ANN):
        made = make_chat(owner)
        ids = [await made.say(speaker, text) for speaker, text in PAST]
        await store.add(owner, NewMemory("Lives in Porto", quote="moved to Porto", message_id=ids[0]), id_="home")
        await store.add(owner, NewMemory("Likes port wine"), id_="wine")
    return made


async def test_what_is_named_is_remembered(chat: Chat, engine: AsyncEngine) -> None:
    """At once, in the person's own words, with the message that says so; twice is once."""
    done = await chat.ask("Remember that my sister's name is Asha.")
    assert (done.kind, done.count) == ("remember", 1)
    record = (await find_memories(engine, ANN, done.memories))[done.memories[0]]
    assert (record.text, record.quote, record.speaker) == ("my sister's name is Asha", record.text, "Ann")
    assert record.message_id is not None
    assert await chat.execute(Remember("my sister's name is Asha"), record.message_id) == done
    assert "my sister's name is Asha" in await chat.recalled("Who is Asha?")
    with pytest.raises(NotVerbatim):
        await chat.execute(Remember("my brother's name is Asha"), record.message_id)


async def test_what_was_said_before_is_remembered(chat: Chat) -> None:
    """A word like "this" is about the person's own last words, not the friend's; without any, nothing is done."""
    done = await chat.ask("Remember this!")
    assert done.count == 1
    assert await chat.memories() == ["Lives in Porto", "Likes port wine", "Porto is lovely"]
    again = await chat.execute(Remember(None), None)
    assert again.count == 0  # nobody called "user" has spoken


async def test_without_a_message_the_profile_says_who_speaks(chat: Chat, engine: AsyncEngine) -> None:
    """A wish that was not taken in is obeyed as well."""
    await write_profile(engine, ANN, Profile("ann", {}), now=DAY)
    await chat.execute(Remember("I sing"), None)
    done = await chat.execute(Forget(None), None)
    assert done.count == 2
    assert await chat.turns() == [text for _, text in PAST[:2]]
    assert (await chat.memories())[-1] == "I sing"


async def test_what_is_named_is_forgotten(chat: Chat, make_chat: Callable[[Owner], Chat]) -> None:
    """Every turn and memory with all of its words, by any speaker, their quotes, and the wish; a receipt."""
    done = await chat.ask("Forget that I live in Porto.")
    assert (done.kind, done.count, done.left) == ("forget", 2, 0)  # two turns; the memory was drawn from one of them
    assert done.receipt is not None
    assert done.receipt.is_complete
    assert await chat.turns() == ["Porto is lovely", "Do tell"]
    assert await chat.memories() == ["Likes port wine"]
    assert await chat.recalled("Where is Porto?") >= {"Porto is lovely"}
    ben = make_chat(BEN)
    assert (len(await ben.turns()), len(await ben.memories())) == (4, 2)


@pytest.mark.parametrize(
    ("elsewhere", "gone"), [("I fed it", {"A fine name, Kiwi", "It's Kiwi!"}), ("Kiwi bit me", {"A fine name, Kiwi"})]
)
@pytest.mark.parametrize("speaker", ["Ann", "user", "ANN"])
async def test_what_others_say_of_it_goes_along(chat: Chat, speaker: str, elsewhere: str, gone: set[str]) -> None:
    """Replies that repeat what was forgotten, unless the person has said that in words that they did not name."""
    lines = [
        (speaker, "My parrot is called Kiwi"),
        ("Friend", "A fine name, Kiwi"),
        (speaker, elsewhere),
        ("Friend", "Parrots are loud"),
        (speaker, "What is my parrot called?"),
        ("Friend", "It's Kiwi!"),
    ]
    for each in lines:
        await chat.say(*each)
    done = await chat.ask("Forget that my parrot is called Kiwi")
    assert done.receipt is not None
    assert done.receipt.is_complete
    left = [text for _, text in lines[1:] if text not in gone]
    assert (done.count, await chat.turns()) == (1 + len(gone), [text for _, text in PAST] + left)


async def test_the_exchange_before_is_forgotten(chat: Chat) -> None:
    """Without a name: the person's last turn and the reply to it; the wish, which names nothing, stays."""
    done = await chat.ask("Forget that, please.")
    assert done.count == 2
    assert await chat.turns() == [*(text for _, text in PAST[:2]), "Forget that, please."]
    assert await chat.memories() == ["Lives in Porto", "Likes port wine"]


async def test_said_twice_it_means_two_exchanges(chat: Chat) -> None:
    """The request itself is nothing to forget."""
    assert (await chat.ask("Forget that.")).count == 2
    assert (await chat.ask("Forget that.")).count == 2
    assert await chat.turns() == ["Forget that.", "Forget that."]


@pytest.mark.parametrize("text", ["Forget about Lisbon", "Forget our own", "Don't bring up my violin again"])
async def test_what_is_not_there_is_not_found(chat: Chat, text: str) -> None:
    """Nothing happens to the rest, and the person can be told so; words of grammar alone name nothing."""
    done = await chat.ask(text)
    assert done.count == 0
    assert set(await chat.turns()) >= {text for _, text in PAST}
    assert await chat.recalled("Where is Porto?") >= {text for _, text in PAST}


async def test_an_intent_that_was_forgotten_is_not_executed(chat: Chat) -> None:
    """Its message is gone: what it pointed at is not guessed."""
    assert (await chat.execute(Forget(None), "gone")).count == 0
    assert len(await chat.turns()) == 4


async def test_an_intent_creates_no_person(make_chat: Callable[[Owner], Chat], engine: AsyncEngine) -> None:
    """Of whom there is nothing, there is nothing afterwards."""
    nobody = make_chat(Owner("app", "nobody"))
    for intent in (Forget("Porto"), Mute("Porto"), Mute(None), Forget(None), Remember(None)):
        assert (await nobody.execute(intent, None)).count == 0
    assert await read_version(engine, Owner("app", "nobody")) is None


async def test_what_is_named_is_not_brought_up(chat: Chat, engine: AsyncEngine, store: MemoryService) -> None:
    """Neither turns, nor memories, nor the wish; all of it stays in the list, from which it can be taken back."""
    done = await chat.ask("Don't bring up Porto again.")
    assert (done.kind, done.count) == ("mute", 3)
    assert await chat.recalled("Porto, lovely wine") == {"Do tell", "Likes port wine"}
    muted = await list_memories(engine, ANN, MemoryFilter(muted=True), limit=9)
    intent = "Don't bring up Porto again."
    assert {each.text for each in muted} == {"Lives in Porto", PAST[1][1], "Porto is lovely", intent}
    assert all(each.message_id is not None for each in muted)
    again = await chat.execute(Mute("Porto"), None)
    assert again.count == 4  # the wish is a turn like any other now
    assert len(await list_memories(engine, ANN, MemoryFilter(muted=True), limit=9)) == 4
    for each in muted:
        await store.edit(ANN, each.id, {"muted": False})
    assert await chat.recalled("Porto, lovely wine") == {"Do tell", "Likes port wine"}
    assert (await chat.ask("You can talk about Porto again.")).kind == "lift"
    assert await chat.recalled("Porto, lovely wine") >= {text for _, text in PAST}


async def test_the_exchange_before_is_not_brought_up(chat: Chat) -> None:
    """Without a name: the person's last turn and the reply."""
    done = await chat.ask("Don't bring that up again")
    assert done.count == 2
    assert not {"Porto is lovely", "Do tell"} & await chat.recalled("Porto, lovely, tell")


async def test_one_intent_is_bounded(chat: Chat, store: MemoryService) -> None:
    """The newest are reached, the number of the others is told, and the next wish gets them."""
    for number in range(MAX_ITEMS + 5):
        await store.add(ANN, NewMemory(f"Violin {number}", event_at=DAY + timedelta(days=number)))
    done = await chat.execute(Forget("my violins"), None)
    assert (done.count, done.left) == (MAX_ITEMS, 5)
    assert [each for each in await chat.memories() if "Violin" in each] == [f"Violin {number}" for number in range(5)]
    assert (await chat.execute(Forget("my violins"), None)).count == 5


async def test_a_statement_reaches_what_says_so_of_the_person(chat: Chat) -> None:
    """Not what is said of others, nor what says the opposite."""
    for text in ("I like coffee", "My sister likes coffee", "I no longer like coffee"):
        await chat.say("Ann", text)
    done = await chat.ask("Forget that I like coffee.")
    assert (done.count, done.about) == (1, "I like coffee")
    assert (await chat.turns())[-2:] == ["My sister likes coffee", "I no longer like coffee"]


async def test_a_name_that_is_a_word_is_found(chat: Chat) -> None:
    """Although it is grammar in lower case."""
    for text in ("Will called me", "I will sleep"):
        await chat.say("Ann", text)
    assert (await chat.ask("Forget about Will.")).count == 1
    assert (await chat.turns())[-1] == "I will sleep"


async def test_a_muted_topic_holds_for_what_is_said_later(chat: Chat, store: MemoryService) -> None:
    """Until the person lifts it; forgetting it takes its words away as well."""
    await chat.ask("Never bring up my aunt Zelda again.")
    await chat.say("Ann", "My aunt Zelda called")
    await store.add(ANN, NewMemory("Has an aunt Zelda", pinned=True))
    assert not any("Zelda" in text for text in await chat.recalled("Zelda, my aunt"))
    assert (await store.brief(ANN))[1] == []
    assert (await chat.ask("You can talk about my aunt Zelda again.")).kind == "lift"
    assert "My aunt Zelda called" in await chat.recalled("Zelda, my aunt")
    assert len((await store.brief(ANN))[1]) == 1
    await chat.ask("Never bring up my aunt Zelda again.")
    await chat.ask("Forget my aunt Zelda.")
    assert await store.topics(ANN) == []
    assert (await chat.ask("undo")).kind == "undo"
    assert "My aunt Zelda called" in await chat.turns()
    assert await store.topics(ANN) == [], "undoing does not bring the topic back"


async def test_everything_is_forgotten_and_comes_back(chat: Chat) -> None:
    """On "undo", all that one wish had set aside."""
    before = await chat.turns()
    done = await chat.ask("Forget everything you know about me.")
    assert done.undo is not None
    assert (await chat.turns(), await chat.memories()) == ([], [])
    assert (await chat.execute(Undo(), None)).kind == "undo"
    assert (await chat.turns())[: len(before)] == before
    assert await chat.memories() == ["Lives in Porto", "Likes port wine"]


async def test_without_a_time_to_undo_it_is_deleted_at_once(
    chat: Chat, store: MemoryService, engine: AsyncEngine, index_cache: IndexCache, clock: Callable[[], datetime]
) -> None:
    """Nothing is set aside."""
    forgetter = Forgetter(engine, index_cache, {}, clock)
    at_once = IntentExecutor(engine, store, forgetter, clock, undo=timedelta(0))
    done = await at_once.execute(ANN, Forget("Porto"), conversation="c", message_id=None)
    assert done is not None
    assert (done.undo, done.receipt and done.receipt.is_complete) == (None, True)
    assert await at_once.execute(ANN, Undo(), conversation="c", message_id=None) is None
    assert not any("Porto" in text for text in await chat.turns())
