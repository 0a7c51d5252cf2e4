"""/api/v1/wishes: what people asked their friend to forget in chats, which can be put back for a day.

Nothing of what was forgotten is told, only how much it is.
"""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from memory.document import Name
from serving import openapi
from serving.errors import UnknownWish
from serving.routes.bounded import BoundedRoute
from serving.routes.personal import Asker, User
from storage.set_aside import list_wishes

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)

PathWish = Annotated[Name, Path(description="its id: `undo` in the header x-bondhu-memory of the reply")]
_UNKNOWN = "This person has no wish '{}' that could be undone."


class WishAnswer(BaseModel):
    """A wish to forget; until `expires_at` what it reached can be put back, then that is deleted for good."""

    object: Literal["wish"] = "wish"
    id: str
    kind: Literal["forget"] = "forget"
    created_at: datetime
    expires_at: datetime
    turns: int
    memories: int


class WishList(BaseModel):
    """The wishes that can be undone, newest first."""

    object: Literal["list"] = "list"
    data: list[WishAnswer]


class UndoneWish(BaseModel):
    """How many turns and memories were put back; what had been taken in again meanwhile was not."""

    object: Literal["wish.undone"] = "wish.undone"
    id: str
    turns: int
    memories: int


class WipedWish(BaseModel):
    """What it had set aside is deleted for good."""

    object: Literal["wish.deleted"] = "wish.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("/api/v1/wishes")
async def wishes(asker: Asker, user: User = None) -> WishList:
    """The person's wishes to forget that can still be undone."""
    async with asker.about(user) as owner:
        found = await list_wishes(asker.gateway.database, owner, now=asker.gateway.now())
    return WishList(data=[WishAnswer.model_validate(each, from_attributes=True) for each in found])


@router.post("/api/v1/wishes/{wish}/undo")
async def undo(wish: PathWish, asker: Asker, user: User = None) -> UndoneWish:
    """Put back what a wish to forget took away."""
    async with asker.about(user) as owner:
        back = await asker.gateway.memory.undo(owner, wish)
        if back is None:
            raise UnknownWish(_UNKNOWN.format(wish))
    return UndoneWish(id=wish, turns=back.turns, memories=back.memories)


@router.delete("/api/v1/wishes/{wish}")
async def wipe(wish: PathWish, asker: Asker, user: User = None) -> WipedWish:
    """Delete what a wish set aside for good, now."""
    async with asker.about(user) as owner:
        if not await asker.gateway.forgetter.wish(owner, wish):
            raise UnknownWish(_UNKNOWN.format(wish))
    return WipedWish(id=wish)
