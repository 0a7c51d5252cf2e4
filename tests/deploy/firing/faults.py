"""Services that are ill on purpose, each in several ways, and applications that go on using them."""

import asyncio
import json
import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
from redis import Redis

from tests.support.certificates import make_certificate
from tests.support.faults.edges import with_gemini
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.servers.engine import MODEL, EngineServer
from tests.support.servers.gemini import GeminiServer

ABSENT = "smollm2-135m-instruct"  # a configured model of which no engine runs
SECONDS_A_TURN = (8.0, 16.0)
TALKERS = 130  # of one engine's 64 sequences: many enough that somebody waits at every moment
PLAIN = {"BONDHU__EMBEDDER__ENABLED": "false", "BONDHU__CACHE__ENABLED": "false"}
FOUR_DAYS_S = 4 * 86_400.0
QUEUE = "bondhu:celery:jobs"


class SlowEngine(EngineServer):
    """Takes about twelve seconds to a first token, and says that its KV cache is full."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.reported = {"kv_cache_usage": 0.97}
        self._dice = random.Random(1)

    async def _words(self, body: dict[str, Any]) -> Any:
        await asyncio.sleep(self._dice.uniform(*SECONDS_A_TURN))
        async for word in super()._words(body):
            yield word


class Applications:
    """So many threads that ask a gateway the same thing until `stop`; `pause_s` between two questions of one."""

    def __init__(self, gateway: GatewayProcess, key: str, talkers: int, pause_s: float, **body: Any) -> None:
        self._url, self._key, self._pause_s, self._body = f"{gateway.url}/v1/chat/completions", key, pause_s, body
        self._over = threading.Event()
        self.statuses: list[int] = []
        self._threads = [threading.Thread(target=self._talk, args=(each,)) for each in range(talkers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _talk(self, number: int) -> None:
        headers = {"authorization": f"Bearer {self._key}"}
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2, "temperature": 1}
        body |= {"user": f"user{number}", "stream": number % 2 == 0, **self._body}
        with httpx.Client(verify=False, timeout=DEADLINE_S, headers=headers) as client:
            while not self._over.wait(self._pause_s):
                with suppress(httpx.TransportError):
                    self.statuses.append(client.post(self._url, json=body).status_code)


@contextmanager
def crowded(folder: Path) -> Iterator[GatewayProcess]:
    """More people than a slow engine has sequences; nobody takes the jobs, and Redis is full."""
    gateway = GatewayProcess(folder, BONDHU__ADMISSION__INTERACTIVE_MAX_WAIT_S="100", **PLAIN)
    with SlowEngine(gateway.ingress_port), gateway:
        gateway.until_ready(MODEL)
        key = gateway.make_key("shop", tier="admin")
        with Applications(gateway, key, TALKERS, 0):
            yield gateway


def pile_up(gateway: GatewayProcess) -> None:
    """Send tasks that no worker takes, and fill Redis with what it may evict."""
    redis = Redis.from_url(gateway.redis.url)
    redis.rpush(QUEUE, *["task"] * 250)
    redis.config_set("maxmemory-policy", "volatile-lru")
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"]) + 2**20)
    for number in range(500):
        redis.set(f"filler:{number}", bytes(20_000), ex=3600)
    redis.config_set("maxmemory", 0)


@contextmanager
def broken(folder: Path, disk: Path) -> Iterator[GatewayProcess]:
    """No engine, no Redis, a disk that is nearly full, a certificate and a backup that are old, a worker that dies."""
    (folder / "backups").mkdir()
    certificate, _ = make_certificate(folder)
    settings = {
        "BONDHU__MODELS__ACTIVE": ABSENT,
        "BONDHU__DOCTOR__CERTIFICATES": json.dumps([str(certificate)]),
        "BONDHU__BACKUP__FOLDER": str(folder / "backups"),
    }
    backup = folder / "backups/bondhu-20260101T000000.000000Z.tar.age"
    backup.touch()
    os.utime(backup, (time.time() - FOUR_DAYS_S,) * 2)
    gateway = GatewayProcess(disk, **settings, **PLAIN)
    with gateway:
        restarted(gateway, 0)
        key = gateway.make_key("shop", tier="admin")
        with Applications(gateway, key, 3, 0.5, model=ABSENT):
            yield gateway


def restarted(gateway: GatewayProcess, times: int) -> None:
    """Write down what a supervisor would whose worker died so many times."""
    state = gateway.var_dir / "run/state.json"
    state.parent.mkdir(exist_ok=True)
    whole = {"worker": {"state": "running", "restarts": times, "pid": 1, "detail": ""}}
    (state.parent / "state.new").write_text(json.dumps(whole))
    (state.parent / "state.new").replace(state)


def fill(disk: Path, share: float) -> None:
    """Fill a disk up to this share."""
    about = shutil.disk_usage(disk)
    (disk / "filler").write_bytes(bytes(int(share * about.total) - about.used))


@contextmanager
def elsewhere(folder: Path) -> Iterator[GatewayProcess]:
    """A service without engines, for which Gemini answers."""
    with GeminiServer() as gemini, GatewayProcess(folder, **with_gemini(gemini), **PLAIN) as gateway:
        key = gateway.make_key("shop", tier="admin", allow_external=True)
        body = {"allow_external": True, "allow_sensitive": False}
        with httpx.Client(verify=False, timeout=DEADLINE_S, headers={"authorization": f"Bearer {key}"}) as client:
            for number in range(4):
                client.put(f"{gateway.url}/api/v1/users/user{number}/consent", json=body).raise_for_status()
        with Applications(gateway, key, 4, 0.5):
            yield gateway
