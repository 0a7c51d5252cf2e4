"""GET /api/v1/conversations, /api/v1/messages and /api/v1/counts: what there is of a person, and how much."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from memory.language.folding import containing
from memory.schemas import Id, Moment, Name, Words
from serving.errors import InvalidRequest
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, User
from serving.routes.memory.recall import FoundTurn
from storage.memory.listing.conversations import MessageFilter, NoSuchPage, list_conversations, list_messages
from storage.memory.listing.counts import read_counts

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)
Limit = Annotated[int, Query(ge=1, le=100)]


class ConversationCard(BaseModel):
    """A conversation: its number of messages, and when the first and the last were said."""

    object: Literal["conversation"] = "conversation"
    external_id: str
    created_at: datetime
    messages: int
    first_said_at: datetime | None
    last_said_at: datetime | None


class ConversationList(BaseModel):
    """A page of conversations, last begun first; pass the last `external_id` as `after` for the next page."""

    object: Literal["list"] = "list"
    data: list[ConversationCard]
    has_more: bool


class ListedTurn(FoundTurn):
    """A turn, and its conversation by the application's id."""

    conversation: str


class MessageList(BaseModel):
    """A page of messages, last said first; pass its last id as `after` for the next page."""

    object: Literal["list"] = "list"
    data: list[ListedTurn]
    has_more: bool


class CountsAnswer(BaseModel):
    """How much there is of a person: messages by speaker, memories by kind and by tag."""

    object: Literal["counts"] = "counts"
    conversations: int
    messages: int
    speakers: dict[str, int]
    memories: int
    kinds: dict[str, int]
    tags: dict[str, int]


@router.get("/api/v1/conversations")
async def conversations(
    access: Access,
    user: User = None,
    limit: Limit = 20,
    after: Annotated[Name | None, Query(description="the last external_id of the previous page")] = None,
) -> ConversationList:
    """List a person's conversations in pages, last begun first."""
    async with access.about(user) as owner:
        try:
            found = await list_conversations(access.gateway.database, owner, limit=limit + 1, after=after)
        except NoSuchPage:
            raise InvalidRequest(f"after: this person has no conversation '{after}'.", param="after") from None
    data = [ConversationCard.model_validate(each, from_attributes=True) for each in found[:limit]]
    return ConversationList(data=data, has_more=len(found) > limit)


@router.get("/api/v1/messages")
async def messages(
    access: Access,
    user: User = None,
    conversation: Annotated[Name | None, Query(description="of this conversation")] = None,
    speaker: Annotated[Name | None, Query(description="of this speaker")] = None,
    search: Annotated[Words | None, Query(description="in the text, ignoring case and accents")] = None,
    since: Annotated[Moment | None, Query(alias="from", description="said at or after")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="said before")] = None,
    limit: Limit = 20,
    after: Annotated[Id | None, Query(description="the last id of the previous page")] = None,
) -> MessageList:
    """List a person's messages in pages, last said first."""
    has_text = None if search is None else containing(search)
    filters = MessageFilter(conversation, speaker, since, until, has_text)
    async with access.about(user) as owner:
        try:
            found = await list_messages(access.gateway.database, owner, filters, limit=limit + 1, after=after)
        except NoSuchPage:
            raise InvalidRequest(f"after: this person has no message '{after}'.", param="after") from None
    data = [
        ListedTurn(
            **FoundTurn.model_validate(each.message, from_attributes=True).model_dump(), conversation=each.conversation
        )
        for each in found[:limit]
    ]
    return MessageList(data=data, has_more=len(found) > limit)


@router.get("/api/v1/counts")
async def counts(access: Access, user: User = None) -> CountsAnswer:
    """Count a person's conversations, messages and memories."""
    async with access.about(user) as owner:
        found = await read_counts(access.gateway.database, owner)
    return CountsAnswer.model_validate(found, from_attributes=True)
