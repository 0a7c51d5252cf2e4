"""Every bound in the OpenAPI document of a generation request is the server's, and the document says how to sign in."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.errors import InvalidRequest
from serving.protocol.anthropic.fields import MessagesRequest
from serving.protocol.check import validate
from serving.protocol.request_fields import ChatRequest, CompletionRequest
from serving.protocol.responses.fields import ResponsesRequest
from serving.routes import openapi

HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
DOCUMENTED: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "chat": (openapi.CHAT, ChatRequest, {"model": "m", "messages": HELLO}),
    "completion": (openapi.COMPLETION, CompletionRequest, {"model": "m", "prompt": "Hi"}),
    "response": (openapi.RESPONSES, ResponsesRequest, {"model": "m", "input": "Hi"}),
    "message": (openapi.MESSAGES, MessagesRequest, {"model": "m", "messages": HELLO, "max_tokens": 5}),
}


def bounds() -> Iterator[tuple[str, str, float, float, type]]:
    """Each bound of a number at the top of a body: kind, field, the last value allowed, and a step beyond."""
    for kind, (documented, _, _) in DOCUMENTED.items():
        schema = documented["requestBody"]["content"]["application/json"]["schema"]
        for name, field in schema["properties"].items():
            for choice in field.get("anyOf", [field]):
                if choice.get("type") in ("integer", "number"):
                    number = int if choice["type"] == "integer" else float
                    for bound, step in (("minimum", -1), ("maximum", 1)):
                        if bound in choice:
                            yield kind, name, choice[bound], choice[bound] + step, number


@pytest.mark.parametrize(("kind", "name", "last", "beyond", "number"), list(bounds()))
def test_a_bound_in_the_document_is_the_servers(kind: str, name: str, last: float, beyond: float, number: type) -> None:
    """The last value passes, the next is refused by name."""
    _, shape, valid = DOCUMENTED[kind]
    validate(shape, valid | {name: number(last)})
    with pytest.raises(InvalidRequest) as caught:
        validate(shape, valid | {name: number(beyond)})
    assert caught.value.param == name


def test_there_are_bounds_to_look_at() -> None:
    """Otherwise nothing was compared."""
    assert len(list(bounds())) > 60


def test_an_assistants_message_needs_no_content() -> None:
    """The document requires none, as calls come without."""
    schema = openapi.CHAT["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["messages"]["items"]["required"] == ["role"]


def test_the_document_says_how_to_sign_in(http: httpx.Client) -> None:
    """By either header, except where no key is needed."""
    document = http.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert (schemes["bearer"]["scheme"], schemes["x-api-key"]["name"]) == ("bearer", "x-api-key")
    assert document["security"] == [{"bearer": []}, {"x-api-key": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
