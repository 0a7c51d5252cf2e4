"""/api/v1/messages: why a reply said what it said, and forgetting a single message."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from memory.document import Name
from serving import openapi
from serving.errors import UnknownMessage
from serving.routes.bounded import BoundedRoute
from serving.routes.memories import MemoryAnswer
from serving.routes.personal import Asker, Asking, User
from serving.routes.recall import Found, FoundTurn, SaidOf
from serving.routes.receipts import ReceiptAnswer
from storage.conversations import MessageRecord, find_messages
from storage.given import find_reply, list_given
from storage.memories import find_memories
from storage.owner import Owner

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)


PathMessage = Annotated[Name, Path(description="its id, or that of the completion (`chatcmpl-...`)")]
_UNKNOWN = "This person has no message '{}'."


class Why(BaseModel):
    """A reply and what it was given, best first, then what is pinned; without what has been forgotten since."""

    object: Literal["why"] = "why"
    message: FoundTurn
    given: list[Found]


@router.delete("/api/v1/messages/{message}")
async def forget_message(message: PathMessage, asker: Asker, user: User = None) -> ReceiptAnswer:
    """Forget one message, and the memories that quote it."""
    async with asker.about(user) as owner:
        found = await find_reply(asker.gateway.database, owner, message)
        receipt = await asker.gateway.forgetter.message(owner, message if found is None else found.id)
        if receipt is None:
            raise UnknownMessage(_UNKNOWN.format(message))
    return ReceiptAnswer.of(receipt)


@router.get("/api/v1/messages/{message}/why")
async def why(message: PathMessage, asker: Asker, user: User = None) -> Why:
    """The memories and turns that a reply was given, with their quotes, and what each ranker said of them."""
    database = asker.gateway.database
    async with asker.about(user) as owner:
        reply = await _find(asker, owner, message)
        given = await list_given(database, owner, reply.id)
        turns = await find_messages(database, owner, [each.item_id for each in given if each.kind == "turn"])
        remembered = await find_memories(database, owner, [each.item_id for each in given if each.kind == "memory"])
    items = {("turn", id_): FoundTurn.model_validate(each, from_attributes=True) for id_, each in turns.items()} | {
        ("memory", id_): MemoryAnswer.model_validate(each) for id_, each in remembered.items()
    }
    found = [
        Found(
            score=each.score,
            rankers={name: SaidOf(rank=rank, score=score) for name, (rank, score) in each.said.items()},
            factors=dict(each.factors),
            item=items[each.kind, each.item_id],
        )
        for each in given
        if (each.kind, each.item_id) in items
    ]
    return Why(message=FoundTurn.model_validate(reply, from_attributes=True), given=found)


async def _find(asker: Asking, owner: Owner, message: str) -> MessageRecord:
    found = await find_reply(asker.gateway.database, owner, message)
    if found is None:
        raise UnknownMessage(_UNKNOWN.format(message))
    return found
