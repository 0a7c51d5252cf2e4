"""Writes a person's document (`memory.schemas.Document`) piece by piece.

A long history has tens of megabytes; written at once, it would hold the interpreter lock for seconds. Each piece is
small, so `write_document` can run in a thread beside an event loop.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue, TypeAdapter

from memory.schemas import SCHEMA_VERSION, About, AgentDocument, StoredMemory, StoredMessage
from storage.memory.export import History

ITEMS_A_PIECE = 200
_MESSAGES = TypeAdapter(list[StoredMessage])
_MEMORIES = TypeAdapter(list[StoredMemory])
_AGENTS = TypeAdapter(list[AgentDocument])
_ROWS = TypeAdapter(list[dict[str, JsonValue]])
_TEXT = TypeAdapter(str)


Rows = Mapping[str, Sequence[Mapping[str, JsonValue]]]


def write_document(
    history: History, agents: Sequence[AgentDocument] = (), others: Rows = MappingProxyType({})
) -> bytes:
    """The JSON document of a stored history."""
    return b"".join(_pieces(history, agents, others))


def _pieces(history: History, agents: Sequence[AgentDocument], others: Rows) -> Iterator[bytes]:
    profile = About.model_validate(history.profile).model_dump_json().encode()
    yield b'{"schema_version":%d,"profile":%s,"conversations":[' % (SCHEMA_VERSION, profile)
    for number, (name, turns) in enumerate(history.conversations.items()):
        yield b'%s{"external_id":%s,"messages":[' % (b"," if number else b"", _TEXT.dump_json(name))
        yield from _items(_MESSAGES, turns)
        yield b"]}"
    yield b'],"memories":['
    yield from _items(_MEMORIES, history.memories)
    yield b'],"agents":['
    yield from _items(_AGENTS, agents)
    yield b'],"others":{'
    for number, (table, rows) in enumerate(others.items()):
        yield b"%s%s:[" % (b"," if number else b"", _TEXT.dump_json(table))
        yield from _items(_ROWS, rows)
        yield b"]"
    yield b"}}"


def _items(adapter: TypeAdapter[Any], items: Sequence[object]) -> Iterator[bytes]:
    """The items of a list, without its brackets."""
    for first in range(0, len(items), ITEMS_A_PIECE):
        piece = adapter.validate_python(items[first : first + ITEMS_A_PIECE], from_attributes=True)
        yield (b"," if first else b"") + adapter.dump_json(piece)[1:-1]
