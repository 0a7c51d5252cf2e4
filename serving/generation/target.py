"""Targets: what can answer a request (a local model, an external one, an agent). A chain of them is tried in order."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from serving.errors import ApiError
from serving.generation.continuation import PartialAnswer
from serving.protocol.record import RequestRecord
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter


class TargetFailed(Exception):
    """A target failed to answer completely; another one may be tried.

    Args:
        reason: why, for the ledger and the metrics, such as `engine_lost` or `ttft_timeout`.
        error: the error for the client if no other target answers.

    """

    def __init__(self, reason: str, error: ApiError) -> None:
        super().__init__(f"{reason}: {error.message}")
        self.reason = reason
        self.error = error


class Withheld(TargetFailed):
    """A target was not called because of private content in the request.

    Args:
        error: the error for the client if no other target answers.
        classes: the classes of the private content.

    """

    def __init__(self, error: ApiError, classes: Collection[str]) -> None:
        super().__init__("private", error)
        self.classes = frozenset(classes)


@dataclass(frozen=True, slots=True)
class TargetCall:
    """What a target is to answer.

    Attributes:
        request: the request.
        response: writes the response.
        record: the request's record in the ledger.
        reason: why the target was chosen.
        beginning: the part that the client has received from another target, to continue from.

    """

    request: GenerationRequest
    response: ResponseWriter
    record: RequestRecord
    reason: str
    beginning: PartialAnswer | None = None


class Target(Protocol):
    """A model or agent that can answer a request."""

    @property
    def model(self) -> str:
        """Its model id."""

    async def answer(self, call: TargetCall) -> None:
        """Answer completely, and add the usage to the record.

        Raises:
            TargetFailed: the response is not complete; it may have started.

        """
