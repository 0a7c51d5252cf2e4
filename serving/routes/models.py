"""GET /v1/models and /v1/models/{id}: only models that can answer now."""

from typing import Any

from fastapi import APIRouter

from serving.errors import EngineUnavailable
from serving.routes import openapi
from serving.routes.dependencies import Caller, Gateway, Worker

router = APIRouter(tags=["models"])


@router.get("/v1/models", responses=openapi.LIST_RESPONSES)
async def list_models(gateway: Worker, _: Caller) -> dict[str, Any]:
    """The models that can answer, the active one's alias among them."""
    engine_registry, embedder = gateway.engine_registry, gateway.embedder
    ready = [_card(gateway, name) for name in engine_registry.models() if engine_registry.state(name).ready]
    if ready and engine_registry.state(engine_registry.resolve(engine_registry.routing["alias"])).ready:
        ready.append(_card(gateway, engine_registry.routing["alias"]))
    if embedder is not None and embedder.ready:
        ready.append(_card(gateway, embedder.model))
    return {"object": "list", "data": ready}


@router.get("/v1/models/{model:path}", responses=openapi.MODEL_RESPONSES)
async def retrieve_model(model: str, gateway: Worker, _: Caller) -> dict[str, Any]:
    """One model; 404 for an unknown one, 503 for one that cannot answer now."""
    embedder = gateway.embedder
    if embedder is not None and model == embedder.model:
        state_ready, reason = embedder.ready, embedder.problem
    else:
        state = gateway.engine_registry.state(gateway.engine_registry.resolve(model))
        state_ready, reason = state.ready, state.reason
    if not state_ready:
        raise EngineUnavailable(
            f"The model '{model}' cannot answer right now: {reason}.",
            retry_after_s=gateway.settings.gateway.retry_after_s,
        )
    return _card(gateway, model)


def _card(gateway: Gateway, name: str) -> dict[str, Any]:
    card: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": gateway.started_at,
        "owned_by": "bondhu",
    }
    if gateway.embedder is None or name != gateway.embedder.model:
        card["root"] = gateway.engine_registry.resolve(name)
    return card
