"""Who can answer a call: a model on the service's own engines, or one outside. A chain of them is tried in order."""

from collections.abc import Collection
from typing import Protocol

from serving.errors import ApiError
from serving.generation.continuation import PartialAnswer
from serving.protocol.record import RequestRecord
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter


class TargetFailed(Exception):
    """It did not answer, or not to the end; another may.

    Args:
        reason: why, in one word or two, for the ledger and the metrics: `engine_lost`, `ttft_timeout`.
        error: what the client is told when nobody else answers.

    """

    def __init__(self, reason: str, error: ApiError) -> None:
        super().__init__(f"{reason}: {error.message}")
        self.reason = reason
        self.error = error


class Withheld(TargetFailed):
    """It was not asked, because of what is private in the request.

    Args:
        error: what the client is told when nobody else answers.
        classes: of what is private, and why nothing could be asked without it.

    """

    def __init__(self, error: ApiError, classes: Collection[str]) -> None:
        super().__init__("private", error)
        self.classes = frozenset(classes)


class Target(Protocol):
    """A model that can be asked."""

    @property
    def model(self) -> str:
        """Its id."""

    async def answer(
        self,
        call: GenerationRequest,
        reply: ResponseWriter,
        entry: RequestRecord,
        *,
        reason: str,
        beginning: PartialAnswer | None,
    ) -> None:
        """Answer to the end, and note in `entry` what it took.

        Args:
            call: the request.
            reply: to the client.
            entry: the request's in the ledger.
            reason: why it is this target's turn.
            beginning: of the answer, which the client already has from another; go on from there.

        Raises:
            TargetFailed: the reply is not complete; it may have started.

        """
