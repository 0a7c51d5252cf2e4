"""The gateway's client of the embedder deployment, and OpenAI's shape of its answers."""

import array
import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson

from models.serve_ingress import Away, Refused, ask
from serving.errors import EngineTimeout, EngineUnavailable, InvalidRequest
from serving.protocol.request_fields import MAX_TOKEN_ID
from serving.protocol.usage import Segment

MAX_INPUTS = 2048  # OpenAI's bound on the array


class EmbedderClient:
    """Asks the embedder and knows whether it answers.

    Args:
        url: where it answers on the private ingress.
        cluster_key: what it wants to see.
        session: the HTTP client.
        model: its id on the endpoint.
        dimensions: length of a vector.
        probe_interval_s: seconds between two probes; every RETRY_S while it does not answer.
        retry_after_s: what a client is told meanwhile.

    """

    RETRY_S = 1.0
    PROBE_TIMEOUT_S = 3.0

    def __init__(
        self,
        *,
        url: str,
        cluster_key: str,
        session: aiohttp.ClientSession,
        model: str,
        dimensions: int,
        probe_interval_s: float,
        retry_after_s: int,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.dimensions = dimensions
        self.label = f"{model}; revision=packaged; quantization=none"
        self.problem: str | None = "it has not answered yet"
        self._url = url
        self._cluster_key = cluster_key
        self._session = session
        self._probe_interval_s = probe_interval_s
        self._retry_after_s = retry_after_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._answered_at = float("-inf")

    @property
    def ready(self) -> bool:
        """Whether its last answer was an embedding."""
        return self.problem is None

    def segment(self, prompt_tokens: int, engine_s: float) -> Segment:
        """What it did for a request, for the ledger."""
        return Segment(self.model, "packaged", "none", 0, 0, "asked", prompt_tokens, 0, engine_s)

    async def run(self) -> None:
        """Probe it until cancelled."""
        while True:
            began = self._clock()
            try:
                await self._ask(["hi"], self.PROBE_TIMEOUT_S)
            except EngineTimeout:
                if self._answered_at < began:  # else it is busy: Ray keeps requests while it replaces a dead one
                    self.problem = f"it did not answer within {self.PROBE_TIMEOUT_S:g} s"
            except EngineUnavailable:
                pass  # `problem` says so
            await asyncio.sleep(self._probe_interval_s if self.ready else self.RETRY_S)

    async def embed(self, inputs: list[str] | list[list[int]], *, truncate: bool = False) -> tuple[bytes, int]:
        """Float32 rows, little-endian, one per input, and the number of prompt tokens.

        With `truncate`, an input that is longer than the model's window is embedded by its beginning.

        Raises:
            InvalidRequest: an input is longer than the model's window, or has an unknown token id.
            EngineUnavailable, EngineTimeout: the embedder does not answer.

        """
        if self.problem is not None:
            raise self._unavailable(self.problem)
        return await self._ask(inputs, self._timeout_s, truncate)

    async def _ask(
        self, inputs: list[str] | list[list[int]], timeout_s: float, truncate: bool = False
    ) -> tuple[bytes, int]:
        body = {"inputs": inputs, "truncate": truncate}
        try:
            rows, headers = await ask(self._session, self._url, self._cluster_key, body, timeout_s=timeout_s)
        except Refused as problem:
            raise InvalidRequest(f"{problem}.", param="input", code=problem.code) from problem
        except TimeoutError as problem:
            raise EngineTimeout(f"The embedder did not answer within {timeout_s:g} s.") from problem
        except Away as problem:
            raise self._unavailable(str(problem)) from problem
        if len(rows) != 4 * self.dimensions * len(inputs):  # else vectors of two models would be mixed
            raise self._unavailable(f"its vectors do not have {self.dimensions} numbers (embedder.dimensions)")
        self.problem, self._answered_at = None, self._clock()
        return rows, int(headers["x-bondhu-tokens"])

    def _unavailable(self, problem: str) -> EngineUnavailable:
        self.problem = problem
        return EngineUnavailable(
            f"The model '{self.model}' cannot answer right now: {problem}.", retry_after_s=self._retry_after_s
        )


def read_request(body: dict[str, Any], dimensions: int) -> tuple[list[str] | list[list[int]], bool]:
    """The inputs of an embeddings request as a list, and whether the answer is to be base64.

    Raises:
        InvalidRequest: names the field and what it accepts.

    """
    if body.get("dimensions") not in (None, dimensions):
        raise InvalidRequest(
            f"dimensions: this model has {dimensions}, and cannot be cut to another.", param="dimensions"
        )
    encoding = body.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        raise InvalidRequest("encoding_format: must be 'float' or 'base64'.", param="encoding_format")
    return _inputs(body.get("input")), encoding == "base64"


def _inputs(given: Any) -> list[str] | list[list[int]]:
    if isinstance(given, str) or _is_tokens(given):
        given = [given]
    if not isinstance(given, list) or not given:
        raise InvalidRequest("input: must be a string, an array of strings, or (an array of) token ids.", param="input")
    if len(given) > MAX_INPUTS:
        raise InvalidRequest(f"input: at most {MAX_INPUTS} inputs a request, got {len(given)}.", param="input")
    if all(isinstance(item, str) for item in given):
        if "" in given:
            raise InvalidRequest(f"input[{given.index('')}]: must not be empty.", param="input")
    elif not all(_is_tokens(item) for item in given):
        raise InvalidRequest("input: must hold only non-empty strings, or only arrays of token ids.", param="input")
    return given


def _is_tokens(item: Any) -> bool:
    return (
        isinstance(item, list)
        and bool(item)
        and all(type(token) is int and 0 <= token <= MAX_TOKEN_ID for token in item)
    )


def answer(rows: bytes, tokens: int, *, model: str, dimensions: int, as_base64: bool) -> bytes:
    """OpenAI's embeddings response as JSON; `rows` is the embedder's float32 matrix."""
    width = 4 * dimensions
    data = [
        {"object": "embedding", "index": index, "embedding": _encode(rows[start : start + width], as_base64)}
        for index, start in enumerate(range(0, len(rows), width))
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage})


def _encode(row: bytes, as_base64: bool) -> str | list[float]:
    return base64.b64encode(row).decode() if as_base64 else array.array("f", row).tolist()
