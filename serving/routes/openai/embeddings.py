"""POST /v1/embeddings."""

import asyncio
import time
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.engines import embedder as embeddings
from serving.errors import ApiError, InvalidRequest, UnknownModel
from serving.protocol.token_estimate import BYTES_PER_TOKEN
from serving.routes import openapi
from serving.routes.body import LARGE_BYTES, model_name, read_json
from serving.routes.counted import COUNTED, refused
from serving.routes.dependencies import Caller, Worker
from serving.routes.identity import about, class_of, end_user

router = APIRouter(tags=["embeddings"])

PATH = "/v1/embeddings"


@router.post(PATH, openapi_extra=openapi.EMBEDDING, responses=openapi.EMBEDDING_RESPONSES)
async def embed(http_request: Request, gateway: Worker, caller: Caller) -> Response:
    """Embed texts: unit-length vectors, as numbers or base64 of little-endian float32."""
    parsed: dict[str, Any] = {}
    try:
        body, parsed = await read_json(http_request, gateway.settings.gateway.max_body_bytes)
        name = model_name(parsed)
        embedder = gateway.embedder
        if embedder is None or gateway.models.find(name).kind != "embedder" or name != embedder.model:
            raise UnknownModel(name)
        class_of(http_request)
        read = partial(embeddings.read_request, parsed, embedder.dimensions)
        inputs, as_base64 = read() if len(body) <= LARGE_BYTES else await asyncio.to_thread(read)
        reserved = len(body) // BYTES_PER_TOKEN
        record = gateway.ledger.begin(**about(http_request, caller, PATH, parsed), tokens_reserved=reserved)
    except ApiError as problem:
        raise await refused(problem, http_request, gateway, caller, PATH, parsed) from None
    http_request.scope[COUNTED] = True
    with record:
        user = end_user(http_request, parsed)
        reservation = await gateway.limiter.reserve(caller.app, user, caller.tier, reserved, record.id)
        used: int | None = None
        began_s = time.monotonic()
        try:
            rows, used = await embedder.embed(inputs)
        except InvalidRequest:
            used = 0
            raise
        finally:
            await (gateway.limiter.refund(reservation) if used is None else gateway.limiter.settle(reservation, used))
        record.prompt_tokens, record.status = used, 200
        record.segments.append(embedder.segment(used, time.monotonic() - began_s))
        answer = await embeddings.answer(rows, used, model=name, dimensions=embedder.dimensions, as_base64=as_base64)
        record.end("ok")
    headers = {"x-bondhu-model": embedder.label, **reservation.headers}
    return Response(answer, media_type="application/json", headers=headers)
