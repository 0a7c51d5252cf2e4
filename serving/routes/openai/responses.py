"""POST /v1/responses: OpenAI's newer protocol, for models and agents. No response is stored."""

import secrets
import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.config.schema import ModelSpec
from serving.protocol.responses import to_chat
from serving.protocol.responses.writer import ResponsesWriter
from serving.routes import openapi, translated
from serving.routes.openai.direct import DirectRoute

router = APIRouter(tags=["generation"], route_class=DirectRoute)

PATH = "/v1/responses"


class _Responses:
    """The dialect; see `serving.routes.translated.Dialect`."""

    def chat_body_of(self, parsed: Mapping[str, Any], spec: ModelSpec | None) -> dict[str, Any]:
        return to_chat.chat_body_of(parsed, () if spec is None else spec.allow_content)

    def name_of(self, param: str | None) -> str | None:
        return to_chat.name_of(param)

    def writer(self, parsed: Mapping[str, Any], request_id: str) -> ResponsesWriter:
        return ResponsesWriter(parsed, id_=secrets.token_hex(16), created_at=int(time.time()))


@router.post(PATH, openapi_extra=openapi.RESPONSES, responses=openapi.RESPONSES_RESPONSES)
async def create_response(http_request: Request) -> Response:
    """Answer a conversation in OpenAI's Responses protocol: one response, or a stream of its events."""
    return await translated.answer(http_request, PATH, _Responses())
