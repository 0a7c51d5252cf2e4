"""Real Prometheus and Alertmanager: of the system, or unpacked into the virtual environment, or unpacked now."""

import json
import os
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.gateway_process import free_port
from tests.support.polling import eventually

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = Path(sys.prefix) / "prometheus"
DEADLINE_S = 60.0


def find(program: str) -> str:
    """Return `promtool`, `prometheus` or `prometheus-alertmanager`; fails the test where there is none to be had."""
    search_path = os.pathsep.join([*os.environ.get("PATH", "").split(os.pathsep), str(UNPACKED / "usr/bin")])
    if shutil.which(program, path=search_path) is None:
        subprocess.run([ROOT / "deploy/unpack-prometheus.sh", UNPACKED], check=True)
    found = shutil.which(program, path=search_path)
    assert found is not None, f"there is no {program} here, and none could be fetched: apt-get install prometheus"
    return found


class Prometheus:
    """A server with its Alertmanager, in `folder`; a context manager that ends both.

    Args:
        folder: where they keep what they have.
        targets: of the job `bondhu`, host:port; their token is in `token`.
        token: the scrape token.
        rules: the file of rules; None: none.
        webhook: where alerts go; None: nowhere.
        every_s: between two scrapes, and two evaluations.

    """

    def __init__(
        self,
        folder: Path,
        targets: list[str],
        token: str,
        *,
        rules: Path | None = None,
        webhook: str | None = None,
        every_s: int = 1,
    ) -> None:
        folder.mkdir(exist_ok=True)
        port, manager_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        every = f"{every_s}s"
        config: dict[str, Any] = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [] if rules is None else [str(rules)],
            "scrape_configs": [
                {
                    "job_name": "bondhu",
                    "authorization": {"type": "Bearer", "credentials": token},
                    "static_configs": [{"targets": targets}],
                }
            ],
        }
        if webhook is not None:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager_port}"]}]}]}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{port}"
        self._manager_url = ""
        self._commands = [
            [
                find("prometheus"),
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={address}",
            ]
        ]
        if webhook is not None:
            receiver = {"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
            route = {"receiver": "hook", "group_by": ["alertname"], "group_wait": "1s", "group_interval": "1s"}
            (folder / "alertmanager.yaml").write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}))
            self._manager_url = f"http://127.0.0.1:{manager_port}"
            self._commands.append(
                [
                    *_with_templates(),
                    find("prometheus-alertmanager"),
                    f"--config.file={folder / 'alertmanager.yaml'}",
                    f"--storage.path={folder / 'alertmanager'}",
                    f"--web.listen-address=127.0.0.1:{manager_port}",
                    "--cluster.listen-address=",
                ]
            )
        self._log = folder / "log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            for command in self._commands:
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        for url in filter(None, (self.url, self._manager_url)):
            eventually(lambda url=url: _is_ready(url), DEADLINE_S, f"{url} to be ready; the log: {self._log}")
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(DEADLINE_S)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        result: list[dict[str, Any]] = self._ask("query", query=expression)["result"]
        return result

    def query_range(self, expression: str, start: float, end: float, step_s: float) -> list[dict[str, Any]]:
        """Return the result of a range query."""
        result: list[dict[str, Any]] = self._ask("query_range", query=expression, start=start, end=end, step=step_s)[
            "result"
        ]
        return result

    def _ask(self, what: str, **params: Any) -> Any:
        body = urllib.parse.urlencode(params).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/{what}", data=body, timeout=DEADLINE_S) as answer:
            return json.load(answer)["data"]


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _with_templates() -> list[str]:
    """What runs Debian's Alertmanager where it is not installed: its templates have a fixed place below /usr/share."""
    if Path("/usr/share/prometheus/alertmanager/default.tmpl").exists():
        return []
    mount = 'mount --bind "$0" /usr/share && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(UNPACKED / "usr/share")]
