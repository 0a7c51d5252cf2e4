"""/api/v1/messages: the context of a reply (`why`), what a message replaced, and deleting a single one."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from memory.schemas import Name
from memory.service import RELEVANCE
from serving.errors import UnknownMemory, UnknownMessage
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, MemoryAccess, User
from serving.routes.memory.erasure import ReceiptAnswer
from serving.routes.memory.memories import MemoryAnswer, PathId
from serving.routes.memory.recall import Found, FoundTurn, RankerScore
from storage.memory.conversations import find_messages
from storage.memory.memories import find_memories
from storage.memory.owner import Owner
from storage.memory.reply_context import find_reply, list_context
from storage.memory.summaries import sources_of
from storage.memory.turns.replaced import FormerTurn, find_replaced, former_turns

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)


PathMessage = Annotated[Name, Path(description="the message's id, or the completion's (`chatcmpl-...`)")]
InConversation = Annotated[
    Name | None, Query(description="its conversation, if the application uses the same id in several")
]
_UNKNOWN = "This person has no message '{}'."
COMPLETION = "chatcmpl-"  # begins a completion's id
WAITED_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # for a reply that is being stored: its client had it before


class Why(BaseModel):
    """A reply and its context, best first, then pinned memories; without what has been deleted since.

    A summary names the messages that it was made from (`sources`). `replaced_by`: the message that stands in the place
    of this reply now, by its external id; null if none does.
    """

    object: Literal["why"] = "why"
    message: FoundTurn
    given: list[Found]
    replaced_by: str | None = None


class FormerMessage(BaseModel):
    """What a message said before another took its place, until then."""

    object: Literal["former_message"] = "former_message"
    id: str
    speaker: str
    text: str
    said_at: datetime
    until: datetime


class FormerList(BaseModel):
    """The former texts of a message, the latest first."""

    object: Literal["list"] = "list"
    data: list[FormerMessage]


class TurnList(BaseModel):
    """Turns in order."""

    object: Literal["list"] = "list"
    data: list[FoundTurn]


@router.delete("/api/v1/messages/{message}")
async def forget_message(
    message: PathMessage, access: Access, conversation: InConversation = None, user: User = None
) -> ReceiptAnswer:
    """Delete a message, the memories that quote it, and what it replaced; or a replaced one with its memories alone."""
    async with access.about(user) as owner:
        reply = await find_reply(access.gateway.database, owner, message, conversation=conversation)
        if reply is None and (former := await _replaced(access, owner, message, conversation)) is not None:
            deleted = await access.gateway.forgetter.memory(owner, former.id)
            return ReceiptAnswer.of(deleted, owner, f"message {message}")
        receipt = await access.gateway.forgetter.message(owner, message if reply is None else reply.id)
        if receipt is None:
            raise UnknownMessage(_UNKNOWN.format(message))
        return ReceiptAnswer.of(receipt, owner, f"message {message}")


@router.get("/api/v1/messages/{message}/why")
async def why(message: PathMessage, access: Access, conversation: InConversation = None, user: User = None) -> Why:
    """The memories and turns in a reply's context, with their quotes and each ranker's score.

    A reply is stored after its last word was sent, so one that is not there yet is waited for, for three seconds. One
    that another answer or an edited message replaced keeps its context.
    """
    database = access.gateway.database
    async with access.about(user) as owner:
        reply, replaced_by = await _find(access, owner, message, conversation)
        context = await list_context(database, owner, reply.id)
        turns = await find_messages(database, owner, [item.item_id for item in context if item.kind == "turn"])
        memories = await find_memories(database, owner, [item.item_id for item in context if item.kind == "memory"])
        sources = await sources_of(database, owner, list(memories))
    items = {("turn", id_): FoundTurn.model_validate(turn, from_attributes=True) for id_, turn in turns.items()} | {
        ("memory", id_): MemoryAnswer.of(memory, sources) for id_, memory in memories.items()
    }
    results = [
        Found(
            score=item.score,
            relevance=item.factors.get(RELEVANCE),
            rankers={name: RankerScore(rank=rank, score=score) for name, (rank, score) in item.said.items()},
            factors={name: factor for name, factor in item.factors.items() if name != RELEVANCE},
            item=items[item.kind, item.item_id],
        )
        for item in context
        if (item.kind, item.item_id) in items
    ]
    return Why(message=reply, given=results, replaced_by=replaced_by)


@router.get("/api/v1/messages/{message}/former")
async def former(
    message: PathMessage, access: Access, conversation: InConversation = None, user: User = None
) -> FormerList:
    """What stood in a message's place before: other answers to the same message, or the message before an edit.

    An edited message also has what followed it before.
    """
    database = access.gateway.database
    async with access.about(user) as owner:
        found = await find_reply(database, owner, message, conversation=conversation)
        if found is None:
            raise UnknownMessage(_UNKNOWN.format(message))
        turns = await former_turns(database, owner, found.id)
    return FormerList(data=[FormerMessage.model_validate(each, from_attributes=True) for each in turns])


@router.get("/api/v1/memories/{id}/sources")
async def sources(id: PathId, access: Access, user: User = None) -> TurnList:  # noqa: A002 - the path's name for it
    """The turns that a summary was made from; of any other memory, the turn that it quotes."""
    database = access.gateway.database
    async with access.about(user) as owner:
        found = (await find_memories(database, owner, [id])).get(id)
        if found is None:
            raise UnknownMemory(f"This person has no memory '{id}'.")
        ids = (await sources_of(database, owner, [id])).get(id) or [each for each in [found.message_id] if each]
        turns = await find_messages(database, owner, ids)
    return TurnList(data=[FoundTurn.model_validate(turns[each], from_attributes=True) for each in ids if each in turns])


async def _find(
    access: MemoryAccess, owner: Owner, message: str, conversation: str | None
) -> tuple[FoundTurn, str | None]:
    """The message, and what replaced it."""
    database = access.gateway.database
    for wait_s in (0.0, *(WAITED_S if message.startswith(COMPLETION) else ())):
        await asyncio.sleep(wait_s)
        reply = await find_reply(database, owner, message, conversation=conversation)
        if reply is not None:
            return FoundTurn.model_validate(reply, from_attributes=True), None
        replaced = await _replaced(access, owner, message, conversation)
        if replaced is not None:
            now_there = (await find_messages(database, owner, [replaced.replaced_by])).get(replaced.replaced_by)
            turn = FoundTurn(external_id=message, **{name: getattr(replaced, name) for name in _OF_TURN})
            return turn, None if now_there is None else now_there.external_id
    raise UnknownMessage(_UNKNOWN.format(message))


async def _replaced(access: MemoryAccess, owner: Owner, message: str, conversation: str | None) -> FormerTurn | None:
    """The message with this external id that was replaced, the latest if there are several."""
    found = await find_replaced(access.gateway.database, owner, message, conversation=conversation)
    return found[0] if found else None


_OF_TURN = ("id", "speaker", "text", "said_at")
