"""POST /api/v1/forget, and the receipt of an erasure."""

from datetime import datetime
from typing import Literal, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from memory.erasure import Receipt
from memory.schemas import Name
from serving.errors import InvalidRequest
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, OfUser
from storage.memory.owner import Owner

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)


class ReceiptAnswer(BaseModel):
    """What is left in each place, checked after the erasure.

    `kept` are places without content: the ledger still has the times and costs of requests.
    """

    object: Literal["erasure_receipt"] = "erasure_receipt"
    complete: bool
    app: str
    user: str | None = Field(description="null: all users of the application")
    asked: str = Field(description="what was to be deleted: `user`, `app`, `memory ID`, `message ID`, ...")
    reached: dict[str, int] = Field(description="how many of each there were")
    erased_at: datetime
    remaining: dict[str, int]
    kept: dict[str, int]

    @classmethod
    def of(cls, receipt: Receipt, whom: Owner | str, target: str) -> Self:
        """The API object of a receipt: for a person or an application's name, and what was to be deleted."""
        app, user = (whom, None) if isinstance(whom, str) else (whom.app, whom.user)
        return cls(
            complete=receipt.is_complete,
            app=app,
            user=user,
            asked=target,
            reached=dict(receipt.reached),
            erased_at=receipt.erased_at,
            remaining=dict(receipt.remaining),
            kept=dict(receipt.kept),
        )


class Forget(OfUser):
    """Whom to erase: an end user, or with `app` (the key's own application) all its end users."""

    app: Name | None = None


@router.post("/api/v1/forget")
async def forget(body: Forget, access: Access) -> ReceiptAnswer:
    """Erase an end user, or all end users of the application: conversations, memories, profile."""
    if body.app is None:
        async with access.about(body.user) as owner:
            return ReceiptAnswer.of(await access.gateway.forgetter.everything(owner), owner, "user")
    if body.app != access.app:
        raise InvalidRequest(f"app: must be '{access.app}', the application of this key.", param="app")
    if body.user is not None:
        raise InvalidRequest("app: set either user or app, not both.", param="app")
    async with access.counted(None):
        return ReceiptAnswer.of(await access.gateway.forgetter.everything(access.app), access.app, "app")
