"""The service against its own OpenAPI document: schemathesis invents requests, right and wrong ones."""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.local_stack import LocalStack

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = {
    "POST /v1/chat/completions": "bondhu-demo",
    "POST /v1/completions": "bondhu-demo",
    "POST /v1/responses": "bondhu-demo",
    "POST /v1/messages": "bondhu-demo",
    "POST /v1/messages/count_tokens": "bondhu-demo",
    "POST /tokenize": "bondhu-demo",
    "POST /detokenize": "bondhu-demo",
    "POST /v1/embeddings": "all-minilm-l6-v2",
    "GET /v1/models": "",
    "GET /v1/models/{model}": "",
    "GET /v1/usage/{request_id}": "",
    "GET /api/v1/usage": "",
    "GET /api/v1/users/{user}/consent": "",
    "PUT /api/v1/users/{user}/consent": "",
    "DELETE /api/v1/users/{user}/consent": "",
    "POST /api/v1/conversations": "",
    "DELETE /api/v1/conversations": "",
    "DELETE /api/v1/messages/{message}": "",
    "GET /api/v1/memories": "",
    "POST /api/v1/memories": "",
    "GET /api/v1/memories/{id}": "",
    "PATCH /api/v1/memories/{id}": "",
    "DELETE /api/v1/memories/{id}": "",
    "GET /api/v1/memories/{id}/sources": "",
    "GET /api/v1/memories/{id}/former": "",
    "GET /api/v1/conversations": "",
    "GET /api/v1/messages": "",
    "GET /api/v1/counts": "",
    "GET /api/v1/messages/{message}/why": "",
    "GET /api/v1/messages/{message}/former": "",
    "GET /api/v1/wishes": "",
    "GET /api/v1/wishes/{wish}": "",
    "POST /api/v1/wishes/{wish}/undo": "",
    "POST /api/v1/wishes/{wish}/confirm": "",
    "GET /api/v1/muted-topics": "",
    "DELETE /api/v1/muted-topics/{topic}": "",
    "DELETE /api/v1/wishes/{wish}": "",
    "POST /api/v1/recall": "",
    "GET /api/v1/profile": "",
    "PUT /api/v1/profile": "",
    "GET /api/v1/export": "",
    "POST /api/v1/import": "",
    "POST /api/v1/forget": "",
    "GET /api/v1/agents": "",
    "POST /api/v1/agents/{agent}/runs": "",
    "POST /api/v1/proposals/{proposal}/confirm": "",
    "POST /api/v1/proposals/{proposal}/undo": "",
    "GET /api/v1/personas": "",
    "PUT /api/v1/personas": "",
    "GET /api/v1/health/report": "",
    "POST /api/v1/jobs": "",
    "GET /api/v1/jobs": "",
    "GET /api/v1/jobs/{job}": "",
    "POST /api/v1/jobs/{job}/cancel": "",
    "GET /api/v1/personality/items": "",
    "POST /api/v1/personality/answers": "",
    "GET /api/v1/personality": "",
    "PUT /api/v1/personality": "",
    "DELETE /api/v1/personality": "",
    "GET /api/v1/inbox": "",
    "POST /api/v1/inbox/{message}/read": "",
    "DELETE /api/v1/inbox/{message}": "",
    "GET /api/v1/inbox/settings": "",
    "PUT /api/v1/inbox/settings": "",
    "GET /api/v1/stats": "",
    "PUT /api/v1/stats/moods": "",
    "GET /api/v1/recommendations": "",
    "GET /api/v1/genres": "",
    "GET /api/v1/services": "",
    "POST /api/v1/services/{service}/link": "",
    "DELETE /api/v1/services/{service}": "",
    "GET /api/v1/services/{service}/callback": "",
    "GET /metrics": "",
    "GET /health": "",
    "GET /ready": "",
    "GET /api/v1/chat/health": "",
}
LONGEST = 4  # tokens: this is about requests, not about texts
IN_CHATS = ("max_tokens", "max_completion_tokens")  # fields that bound an answer
LENGTHS: dict[str, tuple[str, ...]] = {
    "POST /v1/responses": ("max_output_tokens",),
    "POST /v1/messages": ("max_tokens",),
    "POST /v1/messages/count_tokens": (),
    "POST /tokenize": (),
    "POST /detokenize": (),
    "POST /v1/embeddings": (),
}
EXAMPLES = 25
BOUNDS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def document(stack: LocalStack) -> Any:
    """The service's own document, loaded by schemathesis."""
    return schemathesis.openapi.from_dict(httpx.get(f"{stack.url}/openapi.json").json())


def test_every_route_is_documented_and_tested(document: Any) -> None:
    """The document lists the operations that are tested here, and no other."""
    assert {result.ok().label for result in document.get_all_operations()} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("label", "mode"),
    [(label, GenerationMode.POSITIVE) for label in OPERATIONS]
    + [(label, GenerationMode.NEGATIVE) for label in OPERATIONS if label.startswith("POST")],
)
def test_the_service_keeps_its_own_contract(stack: LocalStack, document: Any, label: str, mode: GenerationMode) -> None:
    """Whatever is sent, the reply has a documented status, media type and shape, and is no 5xx."""
    (operation,) = (result.ok() for result in document.get_all_operations() if result.ok().label == label)
    headers = {"authorization": f"Bearer {stack.api_key}"}

    @BOUNDS
    @given(case=operation.as_strategy(generation_mode=mode))
    def keep(case: schemathesis.Case) -> None:
        if isinstance(case.body, dict):
            case.body = _quick(case.body, OPERATIONS[label], LENGTHS.get(label, IN_CHATS))
        case.call_and_validate(base_url=stack.url, headers=headers, checks=CHECKS, timeout=120)

    keep()


def _quick(body: dict[str, Any], model: str, lengths: tuple[str, ...]) -> dict[str, Any]:
    """The same request for a model that exists, and for a short answer; wrong values stay as they are."""
    if not model:
        return body
    changes: dict[str, Any] = {"model": model} if isinstance(body.get("model"), str) else {}
    for field in lengths:
        value = body.get(field)
        if value is None or (isinstance(value, int | float) and value > LONGEST):
            changes[field] = LONGEST
    return body | changes
