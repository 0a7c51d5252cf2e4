"""POST /v1/embeddings."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving import embeddings, openapi
from serving.errors import UnknownModel
from serving.routes.body import model_name, read_json
from serving.state import Caller, Worker

router = APIRouter(tags=["embeddings"])


@router.post("/v1/embeddings", openapi_extra=openapi.EMBEDDING, responses=openapi.EMBEDDING_RESPONSES)
async def embed(request: Request, gateway: Worker, _: Caller) -> Response:
    """Embed texts: unit-length vectors, as numbers or base64 of little-endian float32."""
    _raw, parsed = await read_json(request, gateway.settings.gateway.max_body_bytes)
    name = model_name(parsed)
    embedder = gateway.embedder
    if embedder is None or name != embedder.model:
        raise UnknownModel(name)
    inputs, as_base64 = embeddings.read_request(parsed, embedder.dimensions)
    rows, tokens = await embedder.embed(inputs)
    body = embeddings.answer(rows, tokens, model=name, dimensions=embedder.dimensions, as_base64=as_base64)
    return Response(body, media_type="application/json", headers={"x-bondhu-model": embedder.label})
