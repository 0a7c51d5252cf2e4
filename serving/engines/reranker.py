"""The gateway's client of the reranker deployment (`memory.recall.rerank.CrossEncoder`)."""

import logging
import time
from collections.abc import Callable, Sequence

import aiohttp
import numpy as np

from memory.recall.rerank import RerankerAway
from models.serve_ingress import Away, Refused, ask

log = logging.getLogger(__name__)

RETRY_S = 5.0


class RerankerClient:
    """Calls the cross-encoder. After a failure it is not called for RETRY_S.

    Args:
        url: its URL on the private ingress.
        cluster_key: the key of the private ingress.
        session: the HTTP client.
        max_candidates: maximum texts in a request.
        timeout_s: timeout of a request.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        *,
        url: str,
        cluster_key: str,
        session: aiohttp.ClientSession,
        max_candidates: int,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_candidates = max_candidates
        self._url = url
        self._cluster_key = cluster_key
        self._session = session
        self._timeout_s = timeout_s
        self._clock = clock
        self._again_at_s = float("-inf")

    async def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """One score for each of `texts`; raises RerankerAway."""
        if self._clock() < self._again_at_s:
            raise RerankerAway
        body = {"question": question, "texts": list(texts)}
        try:
            raw, _ = await ask(self._session, self._url, self._cluster_key, body, timeout_s=self._timeout_s)
        except (Away, Refused, TimeoutError) as problem:
            raise self._away(str(problem) or f"it did not respond within {self._timeout_s:g} s") from problem
        if len(raw) != 4 * len(texts) or not np.isfinite(scores := np.frombuffer(raw, dtype="<f4")).all():
            raise self._away("its response does not have one finite number for each text")
        return [float(score) for score in scores]

    def _away(self, why: str) -> RerankerAway:
        self._again_at_s = self._clock() + RETRY_S
        log.warning("the reranker is not asked for %g s: %s", RETRY_S, why)
        return RerankerAway(why)
