"""POST /api/v1/forget, and how a receipt of an erasure reads."""

from datetime import datetime
from typing import Literal, Self

from fastapi import APIRouter
from pydantic import BaseModel

from memory.erasure import Receipt
from memory.schemas import Name
from serving.errors import InvalidRequest
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Asker, OfUser

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)


class ReceiptAnswer(BaseModel):
    """What was found, place by place, when every place was asked again after the erasure.

    `kept` are places that hold no content: the ledger still knows when the person asked, and what that cost.
    """

    object: Literal["erasure_receipt"] = "erasure_receipt"
    complete: bool
    erased_at: datetime
    remaining: dict[str, int]
    kept: dict[str, int]

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        """The answer that shows it."""
        remaining, kept = dict(receipt.remaining), dict(receipt.kept)
        return cls(complete=receipt.is_complete, erased_at=receipt.erased_at, remaining=remaining, kept=kept)


class Forget(OfUser):
    """Whom to forget: an end user, or in `app` the key's own application by its name, with everybody in it."""

    app: Name | None = None


@router.post("/api/v1/forget")
async def forget(body: Forget, asker: Asker) -> ReceiptAnswer:
    """Forget all of an end user, or of all end users of the application: conversations, memories, profile."""
    if body.app is None:
        async with asker.about(body.user) as owner:
            return ReceiptAnswer.of(await asker.gateway.forgetter.everything(owner))
    if body.app != asker.app:
        raise InvalidRequest(f"app: must be '{asker.app}', whose key this is.", param="app")
    if body.user is not None:
        raise InvalidRequest("app: give either user or app, not both.", param="app")
    async with asker.counted(None):
        return ReceiptAnswer.of(await asker.gateway.forgetter.everything(asker.app))
