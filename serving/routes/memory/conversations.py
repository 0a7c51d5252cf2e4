"""/api/v1/conversations: store turns of conversations, and delete a conversation."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from memory.schemas import Message, Name
from serving.errors import UnknownConversation
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, OfUser, User
from serving.routes.memory.erasure import ReceiptAnswer

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)

MAX_MESSAGES = 1000  # in a request; longer histories take several requests


class Conversation(OfUser):
    """Turns of one conversation."""

    external_id: Name = Field(description="the application's id of the conversation")
    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)


class TakenMessage(BaseModel):
    """The id of a stored message."""

    id: str
    external_id: str


class TakenConversation(BaseModel):
    """The result. `differing` are messages that were stored before with another text, which is kept."""

    object: Literal["conversation"] = "conversation"
    external_id: str
    added: int
    existing: int
    differing: list[str]
    messages: list[TakenMessage]


@router.post("/api/v1/conversations")
async def take_in(body: Conversation, access: Access) -> TakenConversation:
    """Store turns of a conversation; turns with a known `external_id` are not stored again."""
    async with access.about(body.user) as owner:
        new = [message.as_new() for message in body.messages]
        ingested = await access.gateway.memory.ingest(owner, body.external_id, new)
    return TakenConversation(
        external_id=body.external_id,
        added=len(ingested.added),
        existing=len(ingested.ids) - len(ingested.added),
        differing=sorted(ingested.differing),
        messages=[TakenMessage(id=id_, external_id=external) for external, id_ in ingested.ids.items()],
    )


@router.delete("/api/v1/conversations")
async def forget_conversation(
    external_id: Annotated[Name, Query(description="the application's id of the conversation")],
    access: Access,
    user: User = None,
) -> ReceiptAnswer:
    """Delete a conversation and the memories that quote it."""
    async with access.about(user) as owner:
        receipt = await access.gateway.forgetter.conversation(owner, external_id)
        if receipt is None:
            raise UnknownConversation(f"This person has no conversation '{external_id}'.", param="external_id")
    return ReceiptAnswer.of(receipt, owner, f"conversation {external_id}")
