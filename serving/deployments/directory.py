"""The directory: the engine replicas with their addresses and states, and the routing table.

It is a small deployment on the private ingress. Replicas report to it through a Serve handle; gateways poll it over
HTTP. It only has soft state: after a restart the next reports fill it again. The routing table is its `user_config`, so
that changing it restarts nothing.
"""

import time
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.deployments.cluster_key import ClusterKey
from serving.engines.wire import ReplicaReport, Routing

STALE_AFTER_S = 15.0  # after several missed reports, the replica or its node is gone


@serve.deployment(name="Directory", num_replicas=1, max_ongoing_requests=64)
class Directory:
    """Responds to GET with ``{"routing": …, "replicas": [ReplicaReport, …]}``; needs the cluster key."""

    def __init__(self) -> None:
        self._routing: Routing = {"alias": "", "active": "", "models": {}}
        self._seen: dict[str, tuple[float, ReplicaReport]] = {}
        self._key = ClusterKey()

    def reconfigure(self, user_config: Routing) -> None:
        """Set the routing table; Serve calls this at start and on every change."""
        self._routing = user_config

    async def report(self, replica: ReplicaReport) -> None:
        """Store a replica's report; the state ``stopped`` removes it."""
        if replica["state"] == "stopped":
            self._seen.pop(replica["replica_id"], None)
        else:
            self._seen[replica["replica_id"]] = (time.monotonic(), replica)

    async def __call__(self, request: Request) -> Response:
        """The whole table as JSON; 401 without the cluster key."""
        if (refusal := self._key.refusal(request)) is not None:
            return refusal
        oldest = time.monotonic() - STALE_AFTER_S
        self._seen = {name: seen for name, seen in self._seen.items() if seen[0] > oldest}
        return JSONResponse({"routing": self._routing, "replicas": [report for _, report in self._seen.values()]})


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application `directory` (no arguments)."""
    return Directory.bind()  # type: ignore[attr-defined]  # added by Serve's decorator
