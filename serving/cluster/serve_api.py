"""Ray Serve's REST API, as far as applying a configuration needs it.

https://docs.ray.io/en/latest/serve/api/index.html#serve-rest-api. Synchronous: its callers are the command line and
the supervisor. No Ray import.
"""

import json
import urllib.error
import urllib.request
from typing import Any

PATH = "/api/serve/applications/"


class ClusterError(RuntimeError):
    """The cluster cannot be reached, or refused; the text says which."""


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
        """Every application by name: status, message, deployed_app_config, deployments. Raises ClusterError."""
        answer = json.loads(self._call("GET") or "{}")
        found: dict[str, dict[str, Any]] = answer.get("applications", {})
        return found

    def put(self, manifest: dict[str, Any]) -> None:
        """Make this what should run; returns before it does. Raises ClusterError."""
        self._call("PUT", json.dumps(manifest).encode())

    def _call(self, method: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self._url, data=body, headers=self._headers, method=method)  # noqa: S310 - http, from configuration
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - as above
                return bytes(response.read())
        except urllib.error.HTTPError as problem:
            detail = problem.read().decode(errors="replace")[:500]
            raise ClusterError(f"Ray's dashboard answered {problem.code}: {detail}") from problem
        except (OSError, TimeoutError) as problem:
            raise ClusterError(f"Ray's dashboard cannot be reached at {self._url}: {problem}") from problem
