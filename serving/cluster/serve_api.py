"""A client of Ray Serve's REST API, for applying a configuration.

https://docs.ray.io/en/latest/serve/api/index.html#serve-rest-api. It is synchronous, for the command line and the
supervisor, and does not import Ray.
"""

import json
import urllib.error
import urllib.request
from typing import Any

PATH = "/api/serve/applications/"


class ClusterError(RuntimeError):
    """The cluster is unreachable or refused a request; the message says which."""


class ServeApi:
    """One cluster's Serve API.

    Args:
        dashboard_url: e.g. "http://127.0.0.1:8265".
        token: Ray's authentication token.

    """

    def __init__(self, dashboard_url: str, token: str) -> None:
        self._url = dashboard_url.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def applications(self) -> dict[str, dict[str, Any]]:
        """All applications by name: status, message, deployed_app_config, deployments. Raises ClusterError."""
        document = json.loads(self._send("GET") or "{}")
        found: dict[str, dict[str, Any]] = document.get("applications", {})
        return found

    def put(self, manifest: dict[str, Any]) -> None:
        """Set the configuration; returns before it is running. Raises ClusterError."""
        self._send("PUT", json.dumps(manifest).encode())

    def _send(self, method: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self._url, data=body, headers=self._headers, method=method)  # noqa: S310 - http, from configuration
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - as above
                return bytes(response.read())
        except urllib.error.HTTPError as problem:
            detail = problem.read().decode(errors="replace")[:500]
            raise ClusterError(f"Ray's dashboard answered {problem.code}: {detail}") from problem
        except (OSError, TimeoutError) as problem:
            raise ClusterError(f"Ray's dashboard cannot be reached at {self._url}: {problem}") from problem
