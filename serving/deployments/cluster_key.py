"""The cluster key, which everything behind the private ingress asks for."""

import os
import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from models.serve_ingress import CLUSTER_HEADER


class ClusterKey:
    """The key, from the environment of the process."""

    def __init__(self) -> None:
        self._key = os.environ["BONDHU_CLUSTER_KEY"].encode()

    def refusal(self, request: Request) -> Response | None:
        """The response to a request without the key; None if it has the key."""
        presented = request.headers.get(CLUSTER_HEADER, "").encode("utf-8", "surrogateescape")
        if secrets.compare_digest(presented, self._key):
            return None
        return JSONResponse({"error": "the cluster key is missing or wrong"}, status_code=401)
