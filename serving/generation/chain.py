"""A target made of targets: the first one that answers does, and another one continues a stream that breaks.

Before the first token the targets are tried in order. After it the chain starts over with the first one, to continue
the response where it stopped. It does not know what the targets are, nor what a client receives if all of them fail.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from serving import errors
from serving.generation.continuation import PartialAnswer, can_be_continued, is_spent, read_back
from serving.generation.target import Target, TargetCall, TargetFailed, Withheld
from serving.protocol.record import RequestRecord
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter
from serving.protocol.sse import DONE, Event
from serving.protocol.usage import Usage

log = logging.getLogger(__name__)

MAX_SWITCHES = 4  # continuations of one stream


class Chain:
    """See `serving.generation.target.Target`.

    Args:
        targets: the targets in order.
        earlier: the tokens of an earlier worker.

    """

    def __init__(self, targets: Sequence[Target], earlier: Usage) -> None:
        self._targets = targets
        self._earlier = earlier

    @property
    def model(self) -> str:
        """The model id of the first target."""
        return self._targets[0].model

    async def answer(self, call: TargetCall) -> None:
        """Answer completely.

        Raises:
            Withheld: no target answered, and some were not called because of private content.
            TargetFailed: no target answered; the error is that of the first target, not of its fallbacks. Or the answer
                was larger than what is taken of one.

        """
        request, response, record, beginning = call.request, call.response, call.record, call.beginning
        first_error: errors.ApiError | None = None
        withheld: frozenset[str] = frozenset()
        why = call.reason
        for _ in range(MAX_SWITCHES):
            if response.started:
                beginning = self._beginning(request, response, record)
                if beginning is None:
                    break
                if beginning.finished or is_spent(request, beginning):
                    await response.events([Event(DONE)], "", is_last=True)
                    return
            reason, why = why, ""
            for target in self._targets:
                try:
                    await target.answer(replace(call, reason=reason, beginning=beginning))
                    return
                except TargetFailed as failure:
                    log.info("%s did not answer %s: %s", target.model, record.id, failure)
                    if isinstance(failure.error, errors.AnswerTooLarge):  # no other model's would be shorter
                        raise
                    why, first_error = why or failure.reason, first_error or failure.error
                    if isinstance(failure, Withheld):
                        withheld |= failure.classes
                    if not response.started:
                        reason = why
                    if response.started and self._has_gone_on(beginning, record):
                        break
            else:
                break  # no target is left
        error = first_error or errors.EngineFailed("No model is configured for this request.")
        raise Withheld(error, withheld) if withheld else TargetFailed(why, error)

    def _has_gone_on(self, beginning: PartialAnswer | None, record: RequestRecord) -> bool:
        """Whether the client has received more since the target was tried."""
        return beginning is None or record.so_far(self._earlier).completion_tokens > beginning.completion_tokens

    def _beginning(
        self, request: GenerationRequest, response: ResponseWriter, record: RequestRecord
    ) -> PartialAnswer | None:
        if not response.is_kept or not can_be_continued(request):
            return None
        counted = record.so_far(self._earlier)
        return read_back(
            response.sent, completion_tokens=counted.completion_tokens, prompt_tokens=counted.prompt_tokens
        )
