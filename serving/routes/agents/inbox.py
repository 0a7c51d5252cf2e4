"""/api/v1/inbox: messages that the friend leaves for a person who has enabled them."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from agents.inbox.box import Box, Message, change_box, load_box, load_settings, save_settings
from agents.inbox.settings import InboxSettings
from memory.person_facts import facts_of
from memory.schemas import Name
from serving.errors import InvalidRequest, MemoryChanged, UnknownMessage
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.dependencies import Gateway
from serving.routes.memory.common import Access, User
from storage.memory.owner import Owner
from storage.memory.people import read_profile

router = APIRouter(tags=["inbox"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)
PathMessage = Annotated[Name, Path(description="a message's id, as GET /api/v1/inbox lists it")]


class InboxMessage(BaseModel):
    """A message; `why` is its occasion."""

    object: Literal["inbox.message"] = "inbox.message"
    id: str
    kind: str
    text: str
    why: str
    created_at: str
    read_at: str | None

    @classmethod
    def of(cls, message: Message) -> "InboxMessage":
        """Convert it to a response."""
        return cls(
            id=message.id,
            kind=message.kind,
            text=message.text,
            why=message.why,
            created_at=message.created_at,
            read_at=message.read_at,
        )


class Inbox(BaseModel):
    """All messages, newest first."""

    object: Literal["list"] = "list"
    unread: int
    data: list[InboxMessage]

    @classmethod
    def of(cls, box: Box) -> "Inbox":
        """Convert it to a response."""
        messages = [InboxMessage.of(message) for message in reversed(box.messages)]
        return cls(unread=sum(message.read_at is None for message in messages), data=messages)


@router.get("/api/v1/inbox")
async def inbox(access: Access, user: User = None) -> Inbox:
    """List the person's messages."""
    async with access.about(user) as owner:
        return Inbox.of(await load_box(access.gateway.agents.states, owner))


@router.post("/api/v1/inbox/{message}/read")
async def read(message: PathMessage, access: Access, user: User = None) -> Inbox:
    """Mark a message as read."""
    async with access.about(user) as owner:
        now = access.gateway.now().isoformat()
        return await _changed(access.gateway, owner, message, lambda box: box.changed(message, read_at=now))


@router.delete("/api/v1/inbox/{message}")
async def delete(message: PathMessage, access: Access, user: User = None) -> Inbox:
    """Delete a message; there will be no other for its occasion."""
    async with access.about(user) as owner:
        return await _changed(access.gateway, owner, message, lambda box: box.without(message))


@router.get("/api/v1/inbox/settings")
async def settings(access: Access, user: User = None) -> InboxSettings:
    """Return whether the person wants messages, how many, and at which times not."""
    async with access.about(user) as owner:
        return await load_settings(access.gateway.agents.states, owner)


@router.put("/api/v1/inbox/settings")
async def set_settings(body: InboxSettings, access: Access, user: User = None) -> InboxSettings:
    """Change the settings; a known minor cannot enable messages."""
    async with access.about(user) as owner:
        gateway = access.gateway
        details = (await read_profile(gateway.database, owner)).details
        facts = facts_of(details, gateway.now().date())
        if body.enabled and gateway.safety.is_minor(facts):
            raise InvalidRequest("enabled: not available to minors.", param="enabled")
        await save_settings(gateway.agents.states, owner, body)
    return body


async def _changed(gateway: Gateway, owner: Owner, id_: str, change: Callable[[Box], Box]) -> Inbox:
    states = gateway.agents.states
    if all(message.id != id_ for message in (await load_box(states, owner)).messages):
        raise UnknownMessage(f"This person has no message '{id_[:64]}'.")
    changed = await change_box(states, owner, change)
    if changed is None:
        raise MemoryChanged("The inbox was changed at the same time; try again.")
    return Inbox.of(changed)
