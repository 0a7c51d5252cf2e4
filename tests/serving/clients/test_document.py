"""Every bound in the OpenAPI document of a generation request is the server's, and the document says how to sign in."""

from collections.abc import Callable, Iterator
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


SIZES = (("minLength", -1), ("maxLength", 1), ("minItems", -1), ("maxItems", 1), ("maxProperties", 1))
ITEMS: dict[str, Any] = {"integer": 1, "string": "word"}
ENTRIES: dict[str, Any] = {"logit_bias": 0, "metadata": "word", "chat_template_kwargs": 1}


def choices() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each form that a field at the top of a body can have: kind, field, its schema."""
    for kind, (documented, _, _) in DOCUMENTED.items():
        schema = documented["requestBody"]["content"]["application/json"]["schema"]
        for name, field in schema["properties"].items():
            for choice in field.get("anyOf", [field]):
                yield kind, name, choice


def bounds() -> Iterator[tuple[str, str, Any, Any]]:
    """Each bound: kind, field, the last value allowed, and one beyond."""
    for kind, name, choice in choices():
        if choice.get("type") in ("integer", "number"):
            number = int if choice["type"] == "integer" else float
            for bound, step in (("minimum", -1), ("maximum", 1)):
                if bound in choice:
                    yield kind, name, number(choice[bound]), number(choice[bound] + step)
        for bound, step in SIZES:
            if bound in choice and (make := maker(name, choice)) is not None:
                yield kind, name, make(choice[bound]), make(choice[bound] + step)


def maker(name: str, choice: dict[str, Any]) -> Callable[[int], Any] | None:
    """What makes a value of a size; None for lists and objects of a form of their own."""
    if choice["type"] == "string":
        return lambda size: "x" * size
    if (
        choice["type"] == "array"
        and choice["items"].get("type") in ITEMS
        and not {"enum", "const"} & choice["items"].keys()
    ):
        return lambda size: [ITEMS[choice["items"]["type"]]] * size
    if choice["type"] == "object" and name in ENTRIES:
        key = "{}" if name == "logit_bias" else "k{}"
        return lambda size: {key.format(number): ENTRIES[name] for number in range(size)}
    return None


BOUNDS = list(bounds())


@pytest.mark.parametrize(
    ("kind", "name", "last", "beyond"),
    BOUNDS,
    ids=[f"{kind}-{name}-{n}" for n, (kind, name, _, _) in enumerate(BOUNDS)],
)
def test_a_bound_in_the_document_is_the_servers(kind: str, name: str, last: Any, beyond: Any) -> None:
    """The last value passes, the next is refused by name."""
    _, shape, valid = DOCUMENTED[kind]
    validate(shape, valid | {name: last})
    with pytest.raises(InvalidRequest) as caught:
        validate(shape, valid | {name: beyond})
    assert (caught.value.param or "").partition(".")[0] == name


def test_there_are_bounds_to_look_at() -> None:
    """Otherwise nothing was compared; and no object has the bound of a string."""
    assert len(BOUNDS) > 100
    assert not [name for _, name, choice in choices() if choice.get("type") == "object" and "maxLength" in choice]


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
