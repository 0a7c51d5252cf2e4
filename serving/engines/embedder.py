"""The gateway's client of the embedder deployment, and OpenAI's format of embeddings."""

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

ROWS_A_TURN = 64  # of the answer that are written between two turns of the event loop
MAX_INPUTS = 2048  # OpenAI's bound on the array


class EmbedderClient:
    """Calls the embedder and tracks whether it works.

    Args:
        url: its URL on the private ingress.
        cluster_key: the key of the private ingress.
        session: the HTTP client.
        model: its model id in the API.
        dimensions: dimensions of a vector.
        probe_interval_s: interval of probes; RETRY_S while it is unavailable.
        retry_after_s: Retry-After of errors while it is unavailable.
        timeout_s: timeout of a request.
        clock: monotonic seconds.

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
        self.problem: str | None = "it has not responded yet"
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
        """Whether the last call succeeded."""
        return self.problem is None

    def segment(self, prompt_tokens: int, engine_s: float) -> Segment:
        """The segment of a request, for the ledger."""
        return Segment(self.model, "packaged", "none", 0, 0, "asked", prompt_tokens, 0, engine_s)

    async def run(self) -> None:
        """Probe it until cancelled."""
        while True:
            began = self._clock()
            try:
                await self._post(["hi"], self.PROBE_TIMEOUT_S)
            except EngineTimeout:
                if self._answered_at < began:  # otherwise it is only busy
                    self.problem = f"it did not respond within {self.PROBE_TIMEOUT_S:g} s"
            except EngineUnavailable:
                pass  # noted in `problem`
            await asyncio.sleep(self._probe_interval_s if self.ready else self.RETRY_S)

    async def embed(self, inputs: list[str] | list[list[int]], *, truncate: bool = False) -> tuple[bytes, int]:
        """Little-endian float32 rows, one per input, and the number of prompt tokens.

        With `truncate`, an input that is longer than the model's context is truncated.

        Raises:
            InvalidRequest: an input is longer than the model's context, or has an unknown token id.
            EngineUnavailable, EngineTimeout: the embedder is unavailable or too slow.

        """
        if self.problem is not None:
            raise self._unavailable(self.problem)
        return await self._post(inputs, self._timeout_s, truncate)

    async def _post(
        self, inputs: list[str] | list[list[int]], timeout_s: float, truncate: bool = False
    ) -> tuple[bytes, int]:
        body = {"inputs": inputs, "truncate": truncate}
        try:
            rows, headers = await ask(self._session, self._url, self._cluster_key, body, timeout_s=timeout_s)
        except Refused as problem:
            raise InvalidRequest(f"{problem}.", param="input", code=problem.code) from problem
        except TimeoutError as problem:
            raise EngineTimeout(f"The embedder did not respond within {timeout_s:g} s.") from problem
        except Away as problem:
            raise self._unavailable(str(problem)) from problem
        if len(rows) != 4 * self.dimensions * len(inputs):  # otherwise vectors of two models could be mixed
            raise self._unavailable(f"its vectors do not have {self.dimensions} numbers (embedder.dimensions)")
        self.problem, self._answered_at = None, self._clock()
        return rows, int(headers["x-bondhu-tokens"])

    def _unavailable(self, problem: str) -> EngineUnavailable:
        self.problem = problem
        return EngineUnavailable(
            f"The model '{self.model}' cannot answer right now: {problem}.", retry_after_s=self._retry_after_s
        )


def read_request(body: dict[str, Any], dimensions: int) -> tuple[list[str] | list[list[int]], bool]:
    """The inputs of an embeddings request as a list, and whether the response is base64.

    Raises:
        InvalidRequest: names the field and what it accepts.

    """
    if body.get("dimensions") not in (None, dimensions):
        raise InvalidRequest(f"dimensions: this model only supports {dimensions}.", param="dimensions")
    encoding = body.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        raise InvalidRequest("encoding_format: must be 'float' or 'base64'.", param="encoding_format")
    return _inputs(body.get("input")), encoding == "base64"


def _inputs(inputs: Any) -> list[str] | list[list[int]]:
    if isinstance(inputs, str) or _is_tokens(inputs):
        inputs = [inputs]
    if not isinstance(inputs, list) or not inputs:
        raise InvalidRequest("input: must be a string, an array of strings, or (an array of) token ids.", param="input")
    if len(inputs) > MAX_INPUTS:
        raise InvalidRequest(f"input: at most {MAX_INPUTS} inputs a request, got {len(inputs)}.", param="input")
    if all(isinstance(item, str) for item in inputs):
        if "" in inputs:
            raise InvalidRequest(f"input[{inputs.index('')}]: must not be empty.", param="input")
    elif not all(_is_tokens(item) for item in inputs):
        raise InvalidRequest("input: must hold only non-empty strings, or only arrays of token ids.", param="input")
    return inputs


def _is_tokens(item: Any) -> bool:
    return (
        isinstance(item, list)
        and bool(item)
        and all(type(token) is int and 0 <= token <= MAX_TOKEN_ID for token in item)
    )


async def answer(rows: bytes, tokens: int, *, model: str, dimensions: int, as_base64: bool) -> bytes:
    """OpenAI's embeddings response as JSON; `rows` is the embedder's float32 matrix."""
    width = 4 * dimensions
    data = []
    for index, start in enumerate(range(0, len(rows), width)):
        embedding = _encode(rows[start : start + width], as_base64)
        data.append(orjson.dumps({"object": "embedding", "index": index, "embedding": embedding}))
        if index % ROWS_A_TURN == ROWS_A_TURN - 1:  # a thousand of them take a tenth of a second
            await asyncio.sleep(0)
    about = orjson.dumps({"model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
    return b'{"object":"list","data":[%s],%s' % (b",".join(data), about[1:])


def _encode(row: bytes, as_base64: bool) -> str | list[float]:
    return base64.b64encode(row).decode() if as_base64 else array.array("f", row).tolist()
