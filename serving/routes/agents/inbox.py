"""/api/v1/inbox: what the friend left for the person, and whether they want it to; nobody does until they say so."""

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
    """A message; `why` says what it is about."""

    object: Literal["inbox.message"] = "inbox.message"
    id: str
    kind: str
    text: str
    why: str
    created_at: str
    read_at: str | None

    @classmethod
    def of(cls, message: Message) -> "InboxMessage":
        """The answer that shows it."""
        return cls(
            id=message.id,
            kind=message.kind,
            text=message.text,
            why=message.why,
            created_at=message.created_at,
            read_at=message.read_at,
        )


class Inbox(BaseModel):
    """All messages, the latest first."""

    object: Literal["list"] = "list"
    unread: int
    data: list[InboxMessage]

    @classmethod
    def of(cls, box: Box) -> "Inbox":
        """The answer that shows it."""
        messages = [InboxMessage.of(each) for each in reversed(box.messages)]
        return cls(unread=sum(each.read_at is None for each in messages), data=messages)


@router.get("/api/v1/inbox")
async def inbox(access: Access, user: User = None) -> Inbox:
    """What the friend left for them."""
    async with access.about(user) as owner:
        return Inbox.of(await load_box(access.gateway.agents.states, owner))


@router.post("/api/v1/inbox/{message}/read")
async def read(message: PathMessage, access: Access, user: User = None) -> Inbox:
    """They have read it."""
    async with access.about(user) as owner:
        now = access.gateway.now().isoformat()
        return await _changed(access.gateway, owner, message, lambda box: box.changed(message, read_at=now))


@router.delete("/api/v1/inbox/{message}")
async def delete(message: PathMessage, access: Access, user: User = None) -> Inbox:
    """Delete it; its occasion gets no other."""
    async with access.about(user) as owner:
        return await _changed(access.gateway, owner, message, lambda box: box.without(message))


@router.get("/api/v1/inbox/settings")
async def settings(access: Access, user: User = None) -> InboxSettings:
    """Whether they want messages, how many, and when not."""
    async with access.about(user) as owner:
        return await load_settings(access.gateway.agents.states, owner)


@router.put("/api/v1/inbox/settings")
async def set_settings(body: InboxSettings, access: Access, user: User = None) -> InboxSettings:
    """Say so; who is known to be a minor gets none."""
    async with access.about(user) as owner:
        gateway = access.gateway
        details = (await read_profile(gateway.database, owner)).details
        facts = facts_of(details, gateway.now().date())
        if body.enabled and gateway.safety.is_minor(facts):
            raise InvalidRequest("enabled: not for who is known to be a minor.", param="enabled")
        await save_settings(gateway.agents.states, owner, body)
    return body


async def _changed(gateway: Gateway, owner: Owner, id_: str, change: Callable[[Box], Box]) -> Inbox:
    states = gateway.agents.states
    if all(each.id != id_ for each in (await load_box(states, owner)).messages):
        raise UnknownMessage(f"This person has no message '{id_[:64]}'.")
    changed = await change_box(states, owner, change)
    if changed is None:
        raise MemoryChanged("The inbox changes at this moment; ask again.")
    return Inbox.of(changed)
