"""POST /v1/rerank, as vLLM's server and Jina's service have it: orders documents by how well they answer a query.

It is recall's cross-encoder, and this route exists only if one is configured (`reranker`). A cross-encoder does not
report tokens, so that limits, ledger and `usage` have an estimate from the bytes of each pair.
"""

import math
import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from memory.recall.rerank import RerankerAway
from serving.config.schema import RerankerSettings
from serving.engines.reranker import RETRY_S, RerankerClient
from serving.errors import ApiError, EngineUnavailable, UnknownModel
from serving.protocol.check import validate
from serving.protocol.request_fields import MAX_NAME_CHARS, Fields, Name
from serving.protocol.token_estimate import tokens_of
from serving.protocol.usage import Segment
from serving.routes import openapi
from serving.routes.body import read_json
from serving.routes.counted import COUNTED, refused
from serving.routes.dependencies import Caller, Worker
from serving.routes.identity import about, class_of, end_user

router = APIRouter(tags=["embeddings"])

PATH = "/v1/rerank"
MAX_DOCUMENTS = 1024
Json = dict[str, Any]


class Document(Fields):
    """A document as an object."""

    text: str


class RerankRequest(Fields):
    """A query, and the documents to order by it; `top_n` 0: all of them."""

    model: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)] | None = None
    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str | Document], Field(fail_fast=True, min_length=1, max_length=MAX_DOCUMENTS)]
    top_n: Annotated[int, Field(ge=0, le=MAX_DOCUMENTS)] | None = None
    return_documents: bool | None = None
    user: Name | None = None


@router.post(PATH, openapi_extra=openapi.request_of(RerankRequest), responses=openapi.RERANK_RESPONSES)
async def rerank(http_request: Request, gateway: Worker, caller: Caller) -> Response:
    """Order documents by how well they answer a query, best first."""
    spec, reranker = gateway.settings.reranker, gateway.reranker
    assert spec is not None, "the route exists only with one"
    assert reranker is not None, "the route exists only with one"
    parsed: Json = {}
    try:
        _, parsed = await read_json(http_request, gateway.settings.gateway.max_body_bytes)
        validate(RerankRequest, parsed)
        _check_model(parsed.get("model"), spec)
        class_of(http_request)
        query = parsed["query"]
        texts = [each if isinstance(each, str) else each["text"] for each in parsed["documents"]]
        tokens = len(texts) * tokens_of(query) + sum(map(tokens_of, texts))
        record = gateway.ledger.begin(**about(http_request, caller, PATH, parsed), tokens_reserved=tokens)
    except ApiError as problem:
        raise await refused(problem, http_request, gateway, caller, PATH, parsed) from None
    http_request.scope[COUNTED] = True
    with record:
        user = end_user(http_request, parsed)
        reservation = await gateway.limiter.reserve(caller.app, user, caller.tier, tokens, record.id)
        used, began_s = 0, time.monotonic()
        try:
            scores = await _scores(reranker, query, texts)
            used = tokens
        finally:
            await (gateway.limiter.settle(reservation, used) if used else gateway.limiter.refund(reservation))
        record.prompt_tokens, record.status = used, 200
        record.segments.append(Segment(spec.id, None, None, 0, 0, "asked", used, engine_s=time.monotonic() - began_s))
        record.end("ok")
    ranked = sorted(range(len(texts)), key=lambda index: -scores[index])[: parsed.get("top_n") or None]
    shows = parsed.get("return_documents") is not False
    results = [
        {"index": index, **({"document": {"text": texts[index]}} if shows else {}), "relevance_score": scores[index]}
        for index in ranked
    ]
    answer = {"id": f"rerank-{record.id}", "model": spec.id, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    headers = {"x-bondhu-model": spec.id, **reservation.headers}
    return Response(orjson.dumps({**answer, "results": results}), media_type="application/json", headers=headers)


def _check_model(name: str | None, spec: RerankerSettings) -> None:
    if name not in (None, spec.id, spec.path):
        raise UnknownModel(name)


async def _scores(reranker: RerankerClient, query: str, texts: list[str]) -> list[float]:
    """A score from 0 to 1 for each text, in portions, so that recall is served in between; raises EngineUnavailable."""
    scores: list[float] = []
    try:
        for first in range(0, len(texts), reranker.max_candidates):
            scores += await reranker.score(query, texts[first : first + reranker.max_candidates])
    except RerankerAway as problem:
        message = "The reranker is not available right now; try again later."
        raise EngineUnavailable(message, retry_after_s=math.ceil(RETRY_S)) from problem
    return [0.5 + 0.5 * math.tanh(score / 2) for score in scores]  # the sigmoid, which cannot overflow
