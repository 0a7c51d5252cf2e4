"""A person's inbox: one message for each occasion. It is a document of the person, exported and erased with them.

If two workers add the same message at once, it is added once: the second finds the document changed and reads it again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from agents.inbox.settings import InboxSettings, read_settings
from agents.state import StateStore
from storage.agents.states import StateKey
from storage.memory.owner import Owner

AGENT, SETTINGS, MESSAGES = "inbox", "settings", "messages"
MAX_MESSAGES, MAX_KEYS = 50, 500
WEEK = timedelta(days=7)
TRIES = 5


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `key` names its occasion, `why` says what it is about; times in ISO 8601."""

    id: str
    key: str
    kind: str
    text: str
    why: str
    created_at: str
    read_at: str | None = None
    delivered_at: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Box:
    """A person's messages; `seen` are the occasions that had a message, including deleted ones."""

    messages: tuple[Message, ...] = ()
    seen: tuple[str, ...] = ()

    def sent_since(self, then: datetime) -> int:
        """The number of messages since then."""
        return sum(datetime.fromisoformat(each.created_at) >= then for each in self.messages)

    def with_message(self, message: Message) -> "Box":
        """The inbox with one more message; unchanged if its occasion had one."""
        if message.key in self.seen:
            return self
        return Box((*self.messages, message)[-MAX_MESSAGES:], (*self.seen, message.key)[-MAX_KEYS:])

    def changed(self, id_: str, **changes: Any) -> "Box":
        """The inbox with one message changed."""
        return replace(self, messages=tuple(replace(m, **changes) if m.id == id_ else m for m in self.messages))

    def without(self, id_: str) -> "Box":
        """The inbox without a message; its occasion gets no other."""
        return replace(self, messages=tuple(each for each in self.messages if each.id != id_))


async def load_box(states: StateStore, owner: Owner) -> Box:
    """The person's inbox."""
    return (await _load(states, owner))[0]


async def change_box(states: StateStore, owner: Owner, change: Callable[[Box], Box]) -> Box | None:
    """Change it, repeating after conflicts; None if every attempt had one."""
    for _ in range(TRIES):
        box, version = await _load(states, owner)
        changed = change(box)
        if changed == box:
            return box
        value = {"messages": [asdict(each) for each in changed.messages], "seen": list(changed.seen)}
        if await states.save(key_of(owner, MESSAGES), value, expected=version):
            return changed
    return None


async def load_settings(states: StateStore, owner: Owner) -> InboxSettings:
    """The person's settings."""
    kept = await states.load(key_of(owner, SETTINGS))
    return InboxSettings() if kept is None else read_settings(kept.value)


async def save_settings(states: StateStore, owner: Owner, settings: InboxSettings) -> None:
    """Store the settings, replacing earlier ones."""
    for _ in range(TRIES):
        kept = await states.load(key_of(owner, SETTINGS))
        version = 0 if kept is None else kept.version
        if await states.save(key_of(owner, SETTINGS), settings.model_dump(), expected=version):
            return


def key_of(owner: Owner, name: str) -> StateKey:
    """The key of the inbox's document."""
    return StateKey(owner, AGENT, "", name)


async def _load(states: StateStore, owner: Owner) -> tuple[Box, int]:
    kept = await states.load(key_of(owner, MESSAGES))
    if kept is None:
        return Box(), 0
    messages: Sequence[Mapping[str, Any]] = kept.value.get("messages", ())
    return Box(tuple(Message(**each) for each in messages), tuple(kept.value.get("seen", ()))), kept.version
