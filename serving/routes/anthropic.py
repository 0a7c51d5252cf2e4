"""POST /v1/messages and its count of tokens: Anthropic's protocol, for models and agents."""

import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.config.schema import ModelSpec
from serving.protocol.anthropic import to_chat
from serving.protocol.anthropic.errors import PATH
from serving.protocol.anthropic.fields import Counted
from serving.protocol.anthropic.writer import MessagesWriter
from serving.routes import openapi, translated
from serving.routes.openai import tokens
from serving.routes.openai.direct import DirectRoute

COUNT = f"{PATH}/count_tokens"
CONTINUED = ("continue_final_message", "add_generation_prompt")

router = APIRouter(tags=["generation"], route_class=DirectRoute)


class _Messages:
    """The dialect; see `serving.routes.translated.Dialect`."""

    def chat_body_of(self, parsed: Mapping[str, Any], spec: ModelSpec | None) -> dict[str, Any]:
        if spec is None:
            return to_chat.chat_body_of(parsed)
        return to_chat.chat_body_of(parsed, spec.allow_content, spec.context_tokens)

    def name_of(self, param: str | None) -> str | None:
        return to_chat.name_of(param)

    def writer(self, parsed: Mapping[str, Any], request_id: str) -> MessagesWriter:
        return MessagesWriter(parsed, id_=secrets.token_hex(12), request_id=request_id)


@router.post(PATH, openapi_extra=openapi.MESSAGES, responses=openapi.MESSAGES_RESPONSES)
async def create_message(http_request: Request) -> Response:
    """Answer a conversation in Anthropic's Messages protocol: one message, or a stream of its events."""
    return await translated.answer(http_request, PATH, _Messages())


@router.post(COUNT, openapi_extra=openapi.request_of(Counted), responses=openapi.COUNT_RESPONSES)
async def count_tokens(http_request: Request) -> Response:
    """Count the tokens of a message's prompt, with the model's own tokenizer."""
    return await tokens.answer(http_request, COUNT, tokens.TOKENIZE, _tokenize_body, _counted)


def _tokenize_body(parsed: Mapping[str, Any]) -> dict[str, Any]:
    body = to_chat.prompt_body_of(parsed)
    return {name: body[name] for name in ("messages", "tools", *CONTINUED) if name in body}


def _counted(found: dict[str, Any]) -> dict[str, Any]:
    return {"input_tokens": found["count"]}
