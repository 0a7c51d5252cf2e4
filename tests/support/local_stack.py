"""A whole Bondhu stack for tests, started with `bondhu up` as a user would, beside any running one.

It has its own root (a copy of configs/, a link to the models), var directory and ports. It observes the stack only from
outside: command line, HTTP, process tree, /dev/shm.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from tests.support.polling import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
BONDHU = Path(sys.executable).with_name("bondhu")
START_WITHIN_S = 600.0  # a cold start on a loaded two-core machine; 60 s when all is warm
RECOVER_WITHIN_S = 600.0  # 60 s on an idle machine: all of Ray and an engine start
PR_SET_CHILD_SUBREAPER = 36
# vLLM cannot set its title where the first variable of its environment was changed, and Ray orders them by chance
ENGINE_CORE = r"VLLM::EngineCore|multiprocessing\.spawn"
_UNFINISHED = re.compile(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)$", re.M)
_GENERATED = re.compile(r"^vllm:generation_tokens_total\{[^}]*\} (\S+)$", re.M)


class LocalStack:
    """One stack below `home`; `up` starts it and `down` stops it, repeatedly if needed."""

    kind = "vllm"  # the engine of its models, unless a test says another

    def __init__(self, home: Path) -> None:
        self.root, self.var_dir = home / "root", home / "var"
        shutil.copytree(REPOSITORY / "configs", self.root / "configs")
        (self.root / "models").symlink_to(REPOSITORY / "models")
        self.configure(models={"active": "bondhu-demo"})  # the fast model; tests that need wit say another
        names = ("GATEWAY__PORT", "RAY__PORT", "RAY__INGRESS_PORT", "RAY__DASHBOARD_PORT")
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        inherited = {name: value for name, value in os.environ.items() if not re.match("BONDHU|RAY|OPENAI", name)}
        self.env = {
            **inherited,
            "BONDHU_ROOT": str(self.root),
            "BONDHU_VAR_DIR": str(self.var_dir),
            "HF_HUB_OFFLINE": "1",
            **{f"BONDHU__{name}": str(port) for name, port in self.ports.items()},
        }
        self.url = f"http://127.0.0.1:{self.ports['GATEWAY__PORT']}"
        self.ingress_url = f"http://127.0.0.1:{self.ports['RAY__INGRESS_PORT']}"
        self.process: subprocess.Popen[bytes] | None = None
        self._engine_ports: set[int] = set()
        self._before: set[int] = set()
        self._shm_before: set[Path] = set()

    # ---- as a user

    def up(self) -> None:
        """Start `bondhu up` in the background and return once GET /ready succeeds."""
        self.launch()
        self.until_ready(START_WITHIN_S)
        self.replicas()

    def launch(self) -> None:
        """Start `bondhu up` in the background and return immediately."""
        adopt_orphans()
        self._before = {child.pid for child in _living_children()}
        self._shm_before = set(Path("/dev/shm").iterdir())
        self.var_dir.mkdir(exist_ok=True)
        if (
            signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        ):  # tests in the background: what they start would inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [BONDHU, "up"], env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.root
            )

    @property
    def output(self) -> Path:
        """The output of `bondhu up`."""
        return self.var_dir.parent / "up.txt"

    def bondhu(
        self, *arguments: str, env: Mapping[str, str] = {}, timeout_s: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a `bondhu` command to its end."""
        return subprocess.run(
            [BONDHU, *arguments],
            env={**self.env, "COLUMNS": "200", **env},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def configure(self, **values: Any) -> None:
        """Edit configs/bondhu.yaml: `configure(models={"active": …})` overlays sections."""
        path = self.root / "configs/bondhu.yaml"
        document = yaml.safe_load(path.read_text())
        for section, changed in values.items():
            document[section] = {**document.get(section, {}), **changed}
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def edit_model(self, model: str, **values: Any) -> None:
        """Edit configs/models/<model>.yaml: a dict is merged into its section, None removes a key."""
        path = self.root / f"configs/models/{model}.yaml"
        document = yaml.safe_load(path.read_text())
        for key, changed in values.items():
            if isinstance(changed, dict):
                section = {**(document.get(key) or {}), **changed}
                changed = {name: value for name, value in section.items() if value is not None}
            document[key] = changed
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    # ---- over HTTP

    @property
    def api_key(self) -> str:
        """The key that `bondhu up` wrote to var/dev.env."""
        return self.secret("dev.env", "OPENAI_API_KEY")

    def secret(self, file: str, name: str) -> str:
        """A value of var/<file>."""
        lines = (self.var_dir / file).read_text().splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))

    def is_ready(self) -> bool:
        """Whether GET /ready answers 200."""
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def until_ready(self, within_s: float = RECOVER_WITHIN_S) -> None:
        """Return once the service is ready; fails with the end of its logs when `bondhu up` ends or time runs out."""

        def look() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"`bondhu up` ended with {self.process.returncode}: {self.tell()}")
            return self.is_ready()

        try:
            eventually(look, within_s, "the service to become ready", every_s=0.25)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.tell()}") from None

    def directory(self) -> dict[str, Any]:
        """The content of the directory of engines."""
        headers = {"x-bondhu-cluster-key": self.secret("secrets.env", "BONDHU_CLUSTER_KEY")}
        answer: dict[str, Any] = httpx.get(f"{self.ingress_url}/directory", headers=headers, timeout=10).json()
        return answer

    def replicas(self) -> list[dict[str, Any]]:
        """The engine replicas that the directory knows."""
        found: list[dict[str, Any]] = self.directory()["replicas"]
        self._engine_ports |= {int(each["address"].rpartition(":")[2]) for each in found if each["address"]}
        return found

    def unfinished(self) -> int:
        """The number of running and queued requests, by the engines' metrics."""
        return int(self._sum_of(_UNFINISHED))

    def generated(self) -> float:
        """The number of tokens generated since the start, by the engines' metrics."""
        return self._sum_of(_GENERATED)

    def _sum_of(self, pattern: re.Pattern[str]) -> float:
        total = 0.0
        for replica in self.replicas():
            headers = {"authorization": f"Bearer {replica['key']}"}
            text = httpx.get(f"{replica['address']}/metrics", headers=headers, timeout=10).text
            total += sum(float(value) for value in pattern.findall(text))
        return total

    def applications(self) -> dict[str, Any]:
        """What Ray's dashboard shows of the applications: Ray Serve's REST API, from which its page is drawn."""
        url = f"http://127.0.0.1:{self.ports['RAY__DASHBOARD_PORT']}/api/serve/applications/"
        headers = {"authorization": f"Bearer {self.secret('secrets.env', 'RAY_AUTH_TOKEN')}"}
        found: dict[str, Any] = httpx.get(url, headers=headers, timeout=30).json()["applications"]
        return found

    # ---- as the operating system sees it

    def processes(self, pattern: str) -> list[psutil.Process]:
        """The stack's living processes whose command line matches, without reapers; oldest first."""
        found = []
        for process in _living_children():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if process.pid not in self._before and "reaper.py" not in line and re.search(pattern, line):
                found.append(process)
        return sorted(found, key=psutil.Process.create_time)

    def kill(self, pattern: str) -> psutil.Process:
        """SIGKILL the one process that matches and return it."""
        (victim, *others) = self.processes(pattern)
        assert not others, f"{pattern} matches {victim} and {others}"
        victim.kill()
        return victim

    def until_gone(self, within_s: float = 15.0) -> None:
        """Fail if anything of a stack that has ended is still there, after the moment that its end takes to be seen."""
        try:
            eventually(lambda: not self.leftovers(), within_s, "everything to be gone")
        except AssertionError:
            raise AssertionError(f"left behind after {within_s:g} s: {self.leftovers()}") from None

    def leftovers(self) -> list[str]:
        """Anything that an ended stack should not leave: processes, ports, shared memory, sockets."""
        left = [_describe(each) for each in _living_children() if each.pid not in self._before]
        left += [f"port {port}" for port in [*self.ports.values(), *self._engine_ports] if self._is_left(port)]
        left += [str(path) for path in set(Path("/dev/shm").iterdir()) - self._shm_before if not _is_others(path)]
        left += [str(path) for path in (self.runtime_dir,) if path.exists()]
        return left

    def _is_left(self, port: int) -> bool:
        """Whether something of the stack may listen there: its engines' ports are free again for anybody's stack."""
        if not _accepts(port):
            return False
        listeners = [
            each.pid for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port
        ]
        own = {each.pid for each in _living_children() if each.pid not in self._before}
        return any(pid is None or pid in own for pid in listeners)

    @property
    def runtime_dir(self) -> Path:
        """The directory of the stack's sockets."""
        from serving.config.load import load_settings

        return load_settings(environ=self.env).runtime_dir

    def tell(self) -> str:
        """The end of what the stack printed and logged, for a failed test's message."""
        files = [self.output, *sorted((self.var_dir / "logs").glob("*.log"))]
        tails = []
        for file in files:
            if file.exists():
                lines = file.read_text(errors="replace").splitlines()[-15:]
                tails.append("\n".join([f"--- {file.name}", *lines]))
        return "\n".join(tails)


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants orphan (prctl(2)), so that no leftover goes unseen."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def status(stack: LocalStack) -> dict[str, Any]:
    """The output of `bondhu status --json`."""
    answer: dict[str, Any] = json.loads(stack.bondhu("status", "--json").stdout)
    return answer


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _living_children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if is_alive(child)]


def _describe(process: psutil.Process) -> str:
    try:
        return f"process {process.pid}: {' '.join(process.cmdline())[:200]}"
    except psutil.NoSuchProcess:
        return f"process {process.pid}, which has just ended"


def _is_others(path: Path) -> bool:
    """Whether `path` in /dev/shm belongs to another stack that lives, or to a process with another clock.

    A stack maps its memory. Of its semaphores some are known only to its resource tracker, which will remove them.
    """
    if "faketime_" in path.name:  # tests.support.faketime, in another run; a stack has the machine's clock
        return True
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                is_tracker = b"multiprocessing.resource_tracker" in (entry / "cmdline").read_bytes()
                if str(path) in (entry / "maps").read_text() or (is_tracker and path.name.startswith("sem.mp-")):
                    return True
            except OSError:
                continue
    return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
