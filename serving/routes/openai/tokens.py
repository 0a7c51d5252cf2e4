"""POST /tokenize and /detokenize, as vLLM's server has them: a model's own tokenizer.

Nothing is generated, so no tokens are charged; the request counts and has a row. An agent has the tokenizer of its
model.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from serving.errors import ApiError, InvalidRequest
from serving.protocol.check import validate
from serving.protocol.request_fields import MAX_NAME_CHARS, Fields, Message, Name, TokenId, Tool
from serving.routes import openapi
from serving.routes.body import read_json
from serving.routes.counted import COUNTED, refused
from serving.routes.dependencies import Gateway, caller_of, gateway_of
from serving.routes.identity import about, end_user
from serving.routes.openai.direct import DirectRoute

router = APIRouter(tags=["generation"], route_class=DirectRoute)

TOKENIZE, DETOKENIZE = "/tokenize", "/detokenize"
Json = dict[str, Any]
Model = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]


class TokenizeRequest(Fields):
    """A text, or the messages of a chat."""

    model: Model
    prompt: str | None = None
    messages: Annotated[list[Message], Field(fail_fast=True, min_length=1)] | None = None
    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=128)] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    return_token_strs: bool | None = None
    user: Name | None = None


class DetokenizeRequest(Fields):
    """Token ids."""

    model: Model
    tokens: Annotated[list[TokenId], Field(fail_fast=True)]
    user: Name | None = None


@router.post(TOKENIZE, openapi_extra=openapi.request_of(TokenizeRequest), responses=openapi.TOKENS_RESPONSES)
async def tokenize(http_request: Request) -> Response:
    """Cut a text, or the prompt of a chat, into a model's tokens."""
    return await answer(http_request, TOKENIZE, TOKENIZE, _tokenize_body, lambda found: found)


@router.post(DETOKENIZE, openapi_extra=openapi.request_of(DetokenizeRequest), responses=openapi.TEXT_RESPONSES)
async def detokenize(http_request: Request) -> Response:
    """The text of a model's tokens."""
    return await answer(http_request, DETOKENIZE, DETOKENIZE, _detokenize_body, lambda found: found)


async def answer(
    http_request: Request,
    endpoint: str,
    path: str,
    read: Callable[[Mapping[str, Any]], Json],
    write: Callable[[Json], Json],
) -> Response:
    """The response to a request at `endpoint`, from the engine's `path`; `read` makes the body, `write` the answer."""
    gateway = await gateway_of(http_request)
    caller = await caller_of(http_request, gateway)
    parsed: Json = {}
    try:
        _, parsed = await read_json(http_request, gateway.settings.gateway.max_body_bytes)
        body = read(parsed)
        model = _tokenizer_of(gateway, parsed["model"])
        record = gateway.ledger.begin(**about(http_request, caller, endpoint, parsed))
    except ApiError as problem:
        raise await refused(problem, http_request, gateway, caller, endpoint, parsed) from None
    http_request.scope[COUNTED] = True
    with record:
        user = end_user(http_request, parsed)
        headers = await gateway.limiter.count(caller.app, user, caller.tier, f"{record.id}.0")
        found, label = await gateway.tokenizer.ask(path, model, body)
        record.status = 200
        record.end("ok")
    content = orjson.dumps(write(found))
    return Response(content, media_type="application/json", headers={"x-bondhu-model": label, **headers})


def _tokenizer_of(gateway: Gateway, name: str) -> str:
    model = gateway.models.answers(name)
    if gateway.models.agent(model) is not None:
        return gateway.models.agents_model()
    if gateway.models.is_external(model):
        raise InvalidRequest("model: the tokenizer of an external model is not known here.", param="model")
    return model


def _tokenize_body(parsed: Mapping[str, Any]) -> Json:
    validate(TokenizeRequest, parsed)
    if (parsed.get("prompt") is None) == (parsed.get("messages") is None):
        raise InvalidRequest("prompt: required, or messages instead; not both.", param="prompt")
    return {name: value for name, value in parsed.items() if name not in ("model", "user") and value is not None}


def _detokenize_body(parsed: Mapping[str, Any]) -> Json:
    validate(DetokenizeRequest, parsed)
    return {"tokens": parsed["tokens"]}
