"""The fixed answer when no model may, or can, answer.

It is a short text in a normal completion, so that a person reads a sentence instead of an error; its model is
`bondhu-degraded`. It is used if only an external model could answer and the question may not be sent there; a program
that expects a tool call, JSON or several choices gets the error instead. A message about self-harm always gets another
text, with helplines (`agents.safety.reply`), whatever failed and whatever format was expected: nothing here judges
whether it was meant seriously.
"""

from collections.abc import Callable, Collection
from typing import Any

from agents.safety.reply import crisis_reply
from serving.errors import ApiError
from serving.generation import fixed_text
from serving.generation.crisis import is_failure, speaks_of_self_harm
from serving.privacy.detector import SELF_HARM, Detect
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import DEGRADED_HEADER, ResponseWriter, Source

LABEL = "bondhu-degraded"
CRISIS = "unanswered; crisis"
_FOR_PROGRAMS = ("tools", "functions", "structured_outputs", "logprobs", "continue_final_message")


class Degraded:
    """Sends the fixed answer.

    Args:
        text: returns the text.
        crisis_text: returns the text for messages about self-harm; helplines follow it.
        detect: finds classes of private content in a text.
        now: unix seconds.
        new_id: makes a unique id.

    """

    def __init__(
        self,
        *,
        text: Callable[[], str],
        crisis_text: Callable[[], str],
        detect: Detect,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._text = text
        self._crisis_text = crisis_text
        self._detect = detect
        self._now = now
        self._new_id = new_id

    async def answer(
        self, request: GenerationRequest, response: ResponseWriter, record: RequestRecord, withheld: Collection[str]
    ) -> None:
        """Send the whole answer; `withheld` are the classes of content that may not be sent."""
        text = self._crisis_of(request) if SELF_HARM in withheld else self._text()
        response.degraded = note(withheld, "unanswered")
        await self._say(request, response, text)
        record.end("degraded", error_code="withheld")

    async def answer_crisis(
        self, request: GenerationRequest, response: ResponseWriter, record: RequestRecord, error: ApiError
    ) -> bool:
        """In a crisis, send the crisis text instead of an error, also in a stream that has started; else False."""
        if response.finished or (response.started and not request.streams) or not await self._is_crisis(request, error):
            return False
        text = self._crisis_of(request)
        response.degraded = CRISIS
        await self._say(request, response, f"\n\n{text}" if response.started else text)
        record.end("degraded", error_code=error.code)
        return True

    async def crisis_reply_to(self, request: GenerationRequest, error: ApiError) -> Source | None:
        """In a crisis, the crisis text as a response, for a request that was refused before it began; else None."""
        if not await self._is_crisis(request, error):
            return None
        chunks = self._chunks(request, self._crisis_of(request))
        return fixed_text.FixedReply(request, chunks, [(DEGRADED_HEADER, CRISIS.encode())], LABEL)

    async def _is_crisis(self, request: GenerationRequest, error: ApiError) -> bool:
        return is_failure(error) and await speaks_of_self_harm(request, self._detect)

    def _crisis_of(self, request: GenerationRequest) -> str:
        return crisis_reply(request.country, text=self._crisis_text())

    async def _say(self, request: GenerationRequest, response: ResponseWriter, text: str) -> None:
        await fixed_text.send(request, response, self._chunks(request, text), LABEL)

    def _chunks(self, request: GenerationRequest, text: str) -> list[dict[str, Any]]:
        return fixed_text.chunks_of(request, text, label=LABEL, id_=self._new_id(), created=int(self._now()))


def is_for_a_person(request: GenerationRequest) -> bool:
    """Whether plain text is a valid answer to this request."""
    body = request.parsed
    plain = body.get("response_format") in (None, {"type": "text"}) and body.get("n") in (None, 1)
    return request.path == CHAT and plain and not any(body.get(field) for field in _FOR_PROGRAMS)


def note(withheld: Collection[str], *words: str) -> str:
    """The value of `x-bondhu-degraded`."""
    return "; ".join([*words, f"withheld={','.join(sorted(withheld))}"])
