"""The deployed embedders, reached by the worker over Ray's private ingress with the cluster key.

The gateway is not used: it names only the active embedder, and its limits and ledger would count calls that no client
made. The list comes from the directory, so a new embedder needs `bondhu apply` and no restart of workers.
"""

from collections.abc import Sequence

import aiohttp
import numpy as np
import orjson

from jobs.config import Ingress
from memory.embedding.embedder import EmbedderAway
from memory.recall.ranking import Matrix
from models.serve_ingress import Away, ask
from storage.memory.vectors.embeddings import Space

DIRECTORY_TIMEOUT_S = 5.0
EMBED_TIMEOUT_S = 20.0  # Serve holds requests while a replica starts: then the next run asks again


class IngressEmbedder:
    """An embedder of the directory (`memory.embedding.embedder.Embedder`)."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, cluster_key: str, *, space: Space, dimensions: int
    ) -> None:
        self.space = space
        self.dimensions = dimensions
        self._session = session
        self._url = url
        self._cluster_key = cluster_key

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """A unit vector for each of `texts`; raises EmbedderAway."""
        body = {"inputs": list(texts), "truncate": True}
        try:
            rows, _ = await ask(self._session, self._url, self._cluster_key, body, timeout_s=EMBED_TIMEOUT_S)
        except (Away, TimeoutError) as problem:
            raise EmbedderAway(f"{self.space.model}: {problem}") from problem
        if len(rows) != 4 * self.dimensions * len(texts):
            raise EmbedderAway(f"{self.space.model}: its vectors do not have {self.dimensions} numbers, as configured")
        return np.frombuffer(rows, dtype="<f4").reshape(len(texts), self.dimensions)


async def deployed(session: aiohttp.ClientSession, ingress: Ingress) -> list[IngressEmbedder]:
    """The embedders in the directory, the active one first; raises Away, TimeoutError."""
    url = f"{ingress.url}/directory"
    answer, _ = await ask(session, url, ingress.cluster_key, None, timeout_s=DIRECTORY_TIMEOUT_S)
    return [
        IngressEmbedder(
            session,
            f"{ingress.url}{each['route']}",
            ingress.cluster_key,
            space=Space(each["model"], each["revision"]),
            dimensions=each["dimensions"],
        )
        for each in orjson.loads(answer)["routing"].get("embedders", ())
    ]
