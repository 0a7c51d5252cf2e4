"""The service against its own OpenAPI document: schemathesis invents requests, right and wrong ones."""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from local_stack import LocalStack
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
LONGEST = 4  # tokens: this is about requests, not about texts

documented = schemathesis.pytest.from_fixture("own_document")


@pytest.fixture
def own_document(stack: LocalStack) -> Any:
    """The document that the service gives out."""
    answer = httpx.get(f"{stack.url}/openapi.json")
    return schemathesis.openapi.from_dict(answer.json())


@documented.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_service_keeps_its_own_contract(case: schemathesis.Case, stack: LocalStack) -> None:
    """Whatever is sent, the reply has a documented status, media type and shape, and is no 5xx."""
    if isinstance(case.body, dict):
        served = "all-minilm-l6-v2" if "embeddings" in case.path else "bondhu-demo"
        if isinstance(case.body.get("model"), str):
            case.body["model"] = served  # else nearly every request would end at the unknown model
        case.body = case.body | {key: _short(case.body.get(key)) for key in ("max_tokens",)}
    headers = {"authorization": f"Bearer {stack.api_key}"}
    case.call_and_validate(base_url=stack.url, headers=headers, checks=CHECKS, timeout=120)


def _short(asked: Any) -> Any:
    """A wrong value as it is, an absent or long one short."""
    if asked is None or (isinstance(asked, int) and asked > LONGEST):
        return LONGEST
    return asked
