"""A person's past as a JSON document for export and import; and the fields of messages and memories in the API.

The bounds are those of the columns (`storage.memory.tables`). The document has no vectors: they are made again from the
same texts after an import.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, FailFast, Field, JsonValue

from storage.memory.conversations import MessageRecord, NewMessage
from storage.memory.export import History, MovedMemory
from storage.memory.memories import NewMemory
from storage.memory.people import ZONE, Profile, zone_of
from storage.memory.tables import MemoryKind, Sensitivity

# Since 2 memories have painful_at and muted, since 3 there are summaries, since 4 memories have tags and former texts,
# and may belong to a persona or a conversation. What is of an earlier version is taken in as well.
SCHEMA_VERSION: Literal[4] = 4
NO_NUL = r"^[^\x00]*$"  # Postgres knows none
MAX_CHARACTERS = 32_768


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("not a date that UTC has") from None


def _that_utc_has(instant: datetime) -> datetime:
    _in_utc(instant)
    return instant


def _zone(name: str) -> str:
    if zone_of({ZONE: name}) is None:
        raise ValueError("not a time zone of the IANA database, such as Europe/Lisbon")
    return name


Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
MomentSomewhere = Annotated[AwareDatetime, AfterValidator(_that_utc_has)]  # with its own offset
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=NO_NUL)]
Words = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS, pattern=NO_NUL)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=NO_NUL)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=20)]


def as_words(text: str) -> str:
    """The part of an unchecked text that can be stored: without NUL, and cut; it may be empty."""
    return text.replace("\0", "").strip()[:MAX_CHARACTERS].rstrip()


class Accepted(BaseModel):
    """Input from outside: an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class Message(Accepted):
    """A turn of a conversation."""

    external_id: Name = Field(description="the application's id of it; within the conversation, sent twice is once")
    speaker: Name = Field(description="who said it, by the name that others call them")
    text: Words
    said_at: MomentSomewhere = Field(description="with a zone; an offset other than 0 tells where the person is")

    def as_new(self) -> NewMessage:
        """For storing."""
        return NewMessage(self.external_id, self.speaker, self.text, self.said_at)


class Memory(Accepted):
    """One thing to remember."""

    text: Words
    kind: MemoryKind = "fact"
    speaker: Name | None = Field(default=None, description="whom it is of; else who said the message that it quotes")
    quote: Words | None = Field(default=None, description="the words of the message that say so")
    message_id: Id | None = Field(default=None, description="the message, by the id that it has here")
    event_at: Moment | None = Field(default=None, description="when what it tells of happened")
    valid_from: Moment | None = Field(default=None, description="since when it holds; null: open")
    valid_until: Moment | None = Field(default=None, description="from when it does not hold any more; null: open")
    confidence: float = Field(default=1.0, ge=0, le=1)
    sensitivity: Sensitivity = "ordinary"
    pinned: bool = False
    painful_at: Moment | None = Field(
        default=None, description="when it was marked as painful: from then on it is recalled less and less"
    )
    muted: bool = Field(default=False, description="kept, and not recalled")
    tags: Tags = Field(default=(), description="the application's words for it, to list and to search by")
    persona: Name | None = Field(default=None, description="recalled only as this persona; null: as any")
    conversation: Name | None = Field(
        default=None, description="recalled only in this conversation (the application's id); null: in any"
    )

    def as_new(self) -> NewMemory:
        """For storing."""
        return NewMemory(**self.model_dump(include=set(Memory.model_fields)))


class StoredMessage(Message):
    """A turn of a document; memories refer to its `id`."""

    id: Id


class StoredMemory(Memory):
    """A memory of a document."""

    id: Id
    superseded_by: Id | None = None
    created_at: Moment
    sources: tuple[Id, ...] = Field(default=(), description="of a summary: the messages that it was made from")


class StoredConversation(Accepted):
    """A conversation of a document, its turns in order."""

    external_id: Name
    messages: Annotated[list[StoredMessage], FailFast()]


class About(Accepted):
    """The application's description of the person."""

    name: Name | None = Field(default=None, description="what they are called as a speaker of conversations")
    details: dict[str, JsonValue] = Field(default_factory=dict, description="whatever the application wants to keep")


class AgentDocument(Accepted):
    """A document that an agent stores about the person, in a conversation or ("") in all of them."""

    agent: Name
    conversation: str = Field(default="", max_length=256)
    name: Name
    value: dict[str, JsonValue]


class Document(Accepted):
    """All data of a person."""

    schema_version: Literal[1, 2, 3, 4] = SCHEMA_VERSION
    profile: About = About()
    conversations: Annotated[list[StoredConversation], FailFast()] = []
    memories: Annotated[list[StoredMemory], FailFast()] = []
    agents: Annotated[list[AgentDocument], FailFast()] = Field(
        default=[], description="what agents store: games, choices; exported, but ignored by an import"
    )
    others: dict[str, list[dict[str, JsonValue]]] = Field(
        default={}, description="rows of all other tables: playlists, jobs, links; exported, but ignored by an import"
    )

    @classmethod
    def of(
        cls,
        history: History,
        agents: Sequence[AgentDocument] = (),
        others: Mapping[str, Sequence[Mapping[str, JsonValue]]] = MappingProxyType({}),
    ) -> Self:
        """The document of a stored history."""
        return cls(
            profile=About.model_validate(history.profile),
            conversations=[
                StoredConversation(external_id=name, messages=[StoredMessage.model_validate(turn) for turn in turns])
                for name, turns in history.conversations.items()
            ],
            memories=[StoredMemory.model_validate(each) for each in history.memories],
            agents=list(agents),
            others={name: [dict(row) for row in rows] for name, rows in others.items()},
        )

    def history(self) -> History:
        """The history to store."""
        conversations: dict[str, Sequence[MessageRecord]] = {
            each.external_id: [MessageRecord(conversation_id="", **turn.model_dump()) for turn in each.messages]
            for each in self.conversations
        }
        memories = [MovedMemory(**each.model_dump()) for each in self.memories]
        left = {name: len(rows) for name, rows in self.others.items() if rows}
        left |= {"agents": len(self.agents)} if self.agents else {}
        return History(Profile(self.profile.name, dict(self.profile.details)), conversations, memories, left)
