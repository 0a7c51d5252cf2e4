"""/api/v1/wishes: requests to forget that people made in chats, which can be confirmed, or undone for a time.

The list reveals only how much was set aside; one wish shows what it reaches, so that a person can decide.
"""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from memory.schemas import Name
from serving.errors import UnknownWish
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, User
from storage.memory.set_aside import list_items, list_wishes

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)

PathWish = Annotated[Name, Path(description="the id: `undo` in the response header x-bondhu-memory")]
_UNKNOWN = "This person has no wish '{}' that can be undone."


class WishAnswer(BaseModel):
    """A wish to forget; it can be undone until `expires_at`, then the data is deleted."""

    object: Literal["wish"] = "wish"
    id: str
    kind: Literal["forget"] = "forget"
    created_at: datetime
    expires_at: datetime
    turns: int
    memories: int


class WishList(BaseModel):
    """Wishes that can be undone, newest first."""

    object: Literal["list"] = "list"
    data: list[WishAnswer]


class UndoneWish(BaseModel):
    """The number of restored turns and memories, without those that were stored again meanwhile."""

    object: Literal["wish.undone"] = "wish.undone"
    id: str
    turns: int
    memories: int


class WishItem(BaseModel):
    """A turn or a memory that was set aside; `speaker` of a turn."""

    kind: Literal["turn", "memory"]
    id: str
    text: str
    speaker: str | None


class WishDetails(WishAnswer):
    """A wish, and what it set aside."""

    items: list[WishItem]


class WipedWish(BaseModel):
    """The data of the wish was deleted."""

    object: Literal["wish.deleted"] = "wish.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("/api/v1/wishes")
async def wishes(access: Access, user: User = None) -> WishList:
    """List the person's wishes to forget that can be undone."""
    async with access.about(user) as owner:
        wishes = await list_wishes(access.gateway.database, owner, now=access.gateway.now())
    return WishList(data=[WishAnswer.model_validate(wish, from_attributes=True) for wish in wishes])


@router.get("/api/v1/wishes/{wish}")
async def wish(wish: PathWish, access: Access, user: User = None) -> WishDetails:
    """Read a wish and the turns and memories that it set aside."""
    async with access.about(user) as owner:
        database, now = access.gateway.database, access.gateway.now()
        found = next((each for each in await list_wishes(database, owner, now=now) if each.id == wish), None)
        if found is None:
            raise UnknownWish(_UNKNOWN.format(wish))
        items = await list_items(database, owner, wish)
    fields = WishAnswer.model_validate(found, from_attributes=True).model_dump()
    shown = [WishItem.model_validate(each, from_attributes=True) for each in items]
    return WishDetails(**fields, items=shown)


@router.post("/api/v1/wishes/{wish}/confirm")
async def confirm(wish: PathWish, access: Access, user: User = None) -> WipedWish:
    """Confirm a wish: delete its data now, which cannot be undone."""
    return await wipe(wish, access, user)


@router.post("/api/v1/wishes/{wish}/undo")
async def undo(wish: PathWish, access: Access, user: User = None) -> UndoneWish:
    """Undo a wish: restore its turns and memories."""
    async with access.about(user) as owner:
        back = await access.gateway.memory.undo(owner, wish)
        if back is None:
            raise UnknownWish(_UNKNOWN.format(wish))
    return UndoneWish(id=wish, turns=back.turns, memories=back.memories)


@router.delete("/api/v1/wishes/{wish}")
async def wipe(wish: PathWish, access: Access, user: User = None) -> WipedWish:
    """Delete the data of a wish now, which cannot be undone."""
    async with access.about(user) as owner:
        if not await access.gateway.forgetter.wish(owner, wish):
            raise UnknownWish(_UNKNOWN.format(wish))
    return WipedWish(id=wish)
