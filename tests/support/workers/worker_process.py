"""The real worker beside a gateway: Celery with its beat, on the gateway's Redis and database, as in a stack."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from serving.config.credentials import Secrets
from serving.config.load import load_settings
from serving.supervisor.processes import components, environment
from tests.support.gateway_process import CLUSTER_KEY, GatewayProcess
from tests.support.polling import eventually

PATIENT_S = 300.0  # a busy machine starts a process slowly; nothing is asserted on how long it took
_PASS = re.compile(r"Task jobs\.send_due\[[\w-]+\] succeeded in [\d.e-]+s: \d")


class WorkerProcess:
    """A context manager that ends it; `process_environ` goes to the process alone."""

    def __init__(self, gateway: GatewayProcess, folder: Path, process_environ: Mapping[str, str] = {}) -> None:
        settings = load_settings(environ=dict(gateway.environ))
        part = next(each for each in components(settings) if each.name == "worker")
        self._part = part
        common = environment(settings, Secrets("ray", CLUSTER_KEY, "scrape"), dict(gateway.environ))
        self._environ = {**common, **part.environment, "TMPDIR": str(folder), **process_environ}
        self._log = folder / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "WorkerProcess":
        """Start it and wait until its beat has looked for jobs."""
        self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until its beat has looked for jobs once more."""
        self.launch()
        eventually(lambda: self.passes() > 0, PATIENT_S, f"the worker to look for jobs; its log: {self._log}")

    def launch(self) -> None:
        """Start it, with a new log, and wait for nothing."""
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(self._part.command, env=self._environ, stdout=output, stderr=output)

    def passes(self) -> int:
        """How often it has looked for jobs, to the end."""
        return len(_PASS.findall(self.log)) if self._log.exists() else 0

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()

    def kill(self) -> None:
        """SIGKILL it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()

    def stop(self) -> None:
        """End it as the supervisor does."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(PATIENT_S)
        finally:
            process.kill()
            process.wait()
