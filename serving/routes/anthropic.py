"""POST /v1/messages: Anthropic's protocol, for models and agents."""

import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.protocol.anthropic import to_chat
from serving.protocol.anthropic.errors import PATH
from serving.protocol.anthropic.writer import MessagesWriter
from serving.routes import openapi, translated
from serving.routes.openai.direct import DirectRoute

router = APIRouter(tags=["generation"], route_class=DirectRoute)


class _Messages:
    """The dialect; see `serving.routes.translated.Dialect`."""

    def chat_body_of(self, parsed: Mapping[str, Any], allow_content: tuple[str, ...]) -> dict[str, Any]:
        return to_chat.chat_body_of(parsed, allow_content)

    def name_of(self, param: str | None) -> str | None:
        return to_chat.name_of(param)

    def writer(self, parsed: Mapping[str, Any], request_id: str) -> MessagesWriter:
        return MessagesWriter(parsed, id_=secrets.token_hex(12), request_id=request_id)


@router.post(PATH, openapi_extra=openapi.MESSAGES, responses=openapi.MESSAGES_RESPONSES)
async def create_message(http_request: Request) -> Response:
    """Answer a conversation in Anthropic's Messages protocol: one message, or a stream of its events."""
    return await translated.answer(http_request, PATH, _Messages())
