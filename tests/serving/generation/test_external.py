"""A model outside as a target: what keeps a request from going there."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from models.provider import ProviderModel
from serving.generation.continuation import PartialAnswer
from serving.generation.external import ExternalTarget
from serving.generation.target import TargetCall, TargetFailed, Withheld
from serving.observability.tracing import NoTracing
from serving.privacy.consent import Allowed
from serving.privacy.detector import detector
from serving.protocol.request import CHAT, COMPLETION, GenerationRequest

MEMORY = {"role": "system", "content": "Maya has two cats.", "bondhu": {"private": "memory"}}
MESSAGES = [{"role": "system", "content": "You are a friend."}, MEMORY, {"role": "user", "content": "Hi"}]
BEGINNING = PartialAnswer("c1", 5, "How are your two", 4, 9, finished=False)


class Unreachable(ProviderModel):
    """A model that nobody may ask."""

    provider = "nobody"
    model = "outside"

    def chunks(self, request: Mapping[str, Any], *, continue_from: str = "") -> AsyncGenerator[dict[str, Any], None]:
        """Fail the test."""
        raise AssertionError("it was asked")

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("path", "key_allows", "allowed", "beginning", "reason"),
    [
        (CHAT, False, Allowed(True, True, "key"), None, "no_consent"),
        (CHAT, True, Allowed(False, False, "user"), None, "no_consent"),
        (COMPLETION, True, Allowed(True, True, "key"), None, "external_unsupported"),
        (CHAT, True, Allowed(True, False, "user"), BEGINNING, "private"),
    ],
)
async def test_what_may_not_leave_is_not_sent(
    path: str, key_allows: bool, allowed: Allowed, beginning: PartialAnswer | None, reason: str
) -> None:
    """No consent of either; no chat; an answer that a memory is in, begun here, is not gone on with outside."""

    async def ask(_: GenerationRequest) -> Allowed:
        return allowed

    target = ExternalTarget(
        "gemini",
        Unreachable(),
        tracing=NoTracing(),
        allowed=ask,
        detect=detector({}),
        audit=lambda _: None,
        user_hash=lambda _, __: "",
    )
    request = GenerationRequest(path, {"messages": MESSAGES}, "m", "r", "diary", "maya", "interactive", key_allows)
    with pytest.raises(TargetFailed) as failed:
        await target.answer(TargetCall(request, None, None, "stalled", beginning))  # type: ignore[arg-type]
    assert failed.value.reason == reason
    assert failed.value.error.status == 503
    if isinstance(failed.value, Withheld):
        assert failed.value.classes == {"memory"}
