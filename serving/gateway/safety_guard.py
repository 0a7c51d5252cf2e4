"""The guard model that `safety.guard` names, asked on its own engines for each request that the safety step reads.

A call has the admission, prefix-cache partition and timeouts of any call to that model, but neither its fallback chain,
so that nothing is sent to another or an external model, nor a safety step of its own. The ledger has no row of it: a
request in plain danger is answered without asking the guard, and must look like the others.
"""

import time
from collections.abc import Mapping

from agents.safety.detection.guard import GraniteGuardian, GuardModel, Qwen3Guard
from serving.config.schema import GuardSpec
from serving.generation.chain_model import ChainModel
from serving.generation.fallback import FallbackChains
from serving.generation.target import Target, TargetCall, TargetFailed
from serving.protocol.record import RequestRecord
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter, Sink
from serving.safety.gate import GuardOf

FORMATS: Mapping[str, type[Qwen3Guard | GraniteGuardian]] = {
    "qwen3guard": Qwen3Guard,
    "granite_guardian": GraniteGuardian,
}


def open_guard(spec: GuardSpec | None, chains: FallbackChains) -> GuardOf | None:
    """Return what makes the guard model of a request; None: none is configured."""
    if spec is None:
        return None
    format_, model = FORMATS[spec.format], spec.model

    def generate(call: GenerationRequest, record: RequestRecord) -> "_Direct":
        return _Direct(chains.of(model)[0], call, record)

    def guard_of(request: GenerationRequest) -> GuardModel:
        return format_(ChainModel(model, request=request, new_record=_uncounted, generate=generate))

    return guard_of


def _uncounted() -> RequestRecord:
    """A record that is written nowhere."""
    return RequestRecord({"id": "guard"}, time.monotonic, lambda *_: None)


class _Direct:
    """The answer of one target, without a chain; a `serving.protocol.response.Source`."""

    def __init__(self, target: Target, request: GenerationRequest, record: RequestRecord) -> None:
        self._target = target
        self._request = request
        self._record = record

    async def run(self, sink: Sink) -> None:
        """Send the answer to `sink`; raises ApiError."""
        with self._record as record:
            try:
                response = ResponseWriter(sink, record, [], keeps=False)
                await self._target.answer(TargetCall(self._request, response, record, "asked"))
            except TargetFailed as failure:
                raise failure.error from failure
            record.end("ok")

    def abandon(self) -> None:
        """Do nothing: whoever waits for the answer is cancelled."""
