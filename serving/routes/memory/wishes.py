"""/api/v1/wishes: requests to forget that people made in chats, which can be undone for a day.

The API does not reveal what was forgotten, only how much.
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
from storage.memory.set_aside import list_wishes

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
