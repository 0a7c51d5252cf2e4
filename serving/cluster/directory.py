"""The cluster's directory as an apply reads it: which engines run, what they serve, how their requests went."""

import json
import urllib.error
import urllib.request
from typing import cast

from serving.cluster.serve_api import ClusterError
from serving.engines.wire import DirectoryAnswer, ReplicaReport


class DirectoryApi:
    """A client of the directory on the private ingress.

    Args:
        ingress_url: the base URL of the private ingress.
        cluster_key: its key.

    """

    def __init__(self, ingress_url: str, cluster_key: str) -> None:
        from models.serve_ingress import CLUSTER_HEADER  # here: it brings aiohttp, and most commands need neither

        self._url = f"{ingress_url}/directory"
        self._headers = {CLUSTER_HEADER: cluster_key}

    def read(self) -> DirectoryAnswer:
        """The whole table; raises ClusterError."""
        return self._send(urllib.request.Request(self._url, headers=self._headers))  # noqa: S310 - as below

    def wake(self, model: str, application: str) -> None:
        """Wake the engines of a model, and have Ray start a replica of the application if it has none."""
        body = {"worker": "apply", "traffic": {}, "used": {model: 0.0}, "wake": [application]}
        self._send(urllib.request.Request(self._url, json.dumps(body).encode(), self._headers))  # noqa: S310 - as below

    def replicas(self, fingerprint: str) -> list[ReplicaReport]:
        """The replicas of one configuration; raises ClusterError."""
        return [report for report in self.read()["replicas"] if report["fingerprint"] == fingerprint]

    def _send(self, request: urllib.request.Request) -> DirectoryAnswer:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - http, from configuration
                return cast("DirectoryAnswer", json.loads(response.read()))
        except (OSError, ValueError, urllib.error.URLError) as problem:
            raise ClusterError(f"the directory of engines cannot be read at {self._url}: {problem}") from problem
