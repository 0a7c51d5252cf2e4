"""The reranker deployment: a cross-encoder with dynamic batching, on the private ingress.

POST {"question": text, "texts": [text, …]} with the cluster key; the response is a little-endian float32 per text.
"""

from typing import Any

import numpy
import orjson
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from serving.deployments.cluster_key import ClusterKey
from serving.deployments.cross_encoder import Scorer


@serve.deployment(name="Reranker", max_ongoing_requests=256, health_check_period_s=10)
class Reranker:
    """Scores texts for a question.

    Args:
        spec: path, max_batch_size (requests), batch_wait_s, threads.

    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._scorer = Scorer(spec["path"], spec["threads"])
        self._key = ClusterKey()
        self._score.set_max_batch_size(spec["max_batch_size"])
        self._score.set_batch_wait_timeout_s(spec["batch_wait_s"])

    async def __call__(self, request: Request) -> Response:
        """The scores; 401 without the cluster key."""
        if (refusal := self._key.refusal(request)) is not None:
            return refusal
        body = orjson.loads(await request.body())
        scores = await self._score([(body["question"], text) for text in body["texts"]])
        return Response(scores.tobytes(), media_type="application/octet-stream")

    @serve.batch  # type: ignore[untyped-decorator]  # Ray is untyped here
    async def _score(self, requests: list[list[tuple[str, str]]]) -> list[numpy.ndarray]:
        """Score the pairs of several requests in one batch; one row of scores per request."""
        scores = self._scorer.score([pair for pairs in requests for pair in pairs])
        ends = numpy.cumsum([len(pairs) for pairs in requests])
        return numpy.split(scores, ends[:-1])


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application `reranker`; `args` is the replica's `spec`."""
    return Reranker.bind(args)  # type: ignore[attr-defined]  # added by Serve's decorator
