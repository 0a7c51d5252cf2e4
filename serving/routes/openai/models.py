"""GET /v1/models and /v1/models/{id}: the models that are ready."""

from typing import Any

from fastapi import APIRouter, Depends

from serving.errors import EngineUnavailable
from serving.generation.catalogue import Listed
from serving.routes import openapi
from serving.routes.counted import looked_up
from serving.routes.dependencies import Caller, Gateway, Worker

router = APIRouter(tags=["models"], dependencies=[Depends(looked_up)])


@router.get("/v1/models", responses=openapi.LIST_RESPONSES)
async def list_models(gateway: Worker, _: Caller) -> dict[str, Any]:
    """List the models that are ready, with the alias and the agents."""
    return {"object": "list", "data": [_card(gateway, listed) for listed in gateway.models if listed.is_ready]}


@router.get("/v1/models/{model:path}", responses=openapi.MODEL_RESPONSES)
async def retrieve_model(model: str, gateway: Worker, _: Caller) -> dict[str, Any]:
    """One model; 404 if it is unknown, 503 if it is not ready."""
    entry = gateway.models.find(model)
    if not entry.is_ready:
        raise EngineUnavailable(
            f"The model '{model}' is not available right now: {entry.reason}.",
            retry_after_s=gateway.engine_registry.retry_after_s(entry.root or model),
        )
    return _card(gateway, entry)


def _card(gateway: Gateway, listed: Listed) -> dict[str, Any]:
    card: dict[str, Any] = {
        "id": listed.id,
        "object": "model",
        "created": gateway.started_at,
        "owned_by": "bondhu",
    }
    return card if listed.root is None else card | {"root": listed.root}
