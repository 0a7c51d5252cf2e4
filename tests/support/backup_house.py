"""A machine of the service's without its processes: configuration, database, journals, secrets, adapters."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from memory.erasure import Forgetter
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from serving.backup.make import erasure_key, make
from serving.backup.restore import Restored, restore
from serving.config.addresses import database_url
from serving.config.credentials import load_secrets
from serving.config.load import load_settings
from serving.ledger.ledger import Ledger
from serving.ledger.pricing import Prices
from storage import api_keys, migrate
from storage.database import open_engine
from storage.erasure.log import ErasureLog
from storage.memory.conversations import NewMessage
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from storage.requests import insert_requests, sum_requests
from tests.support.databases.postgres_server import find_binaries
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder

ROOT = Path(__file__).resolve().parents[2]
DAY = datetime(2026, 1, 1, tzinfo=UTC)
ANN, BEN = Owner("shop", "ann"), Owner("shop", "ben")
ADAPTER = "models/companion/adapter"
POSTGRES_BIN = find_binaries()
NOW = partial(datetime.now, UTC)


class Past:
    """The memory service of a gateway; a context manager."""

    def __init__(self, house: "House") -> None:
        self._engine = open_engine(house.url)
        embedder = WordEmbedder()
        self._cache = IndexCache(self._engine, embedder.space, dimensions=DIMENSIONS, max_bytes=2**30)
        self.store = MemoryService(self._engine, self._cache, embedder, NOW)
        self.forgetter = Forgetter(self._engine, self._cache, {}, NOW, ErasureLog(erasure_key(house.settings), NOW))

    async def __aenter__(self) -> "Past":
        """Is open already."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of it."""
        self._cache.close()
        await self._engine.dispose()


class House:
    """An installation in `folder`, on the database `url` (None: its own SQLite)."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.root = folder / "root"
        if not self.root.exists():
            shutil.copytree(ROOT / "configs", self.root / "configs")
            (self.root / ADAPTER).mkdir(parents=True)
        environ = {"BONDHU_ROOT": str(self.root), "BONDHU_VAR_DIR": str(folder / "var")}
        if url is not None:
            environ["BONDHU__DATABASE__URL"] = url
        self.settings = load_settings(environ=environ)
        self.var = self.settings.var_dir
        self.var.mkdir(exist_ok=True)
        self.url = database_url(self.settings)

    async def fill(self, word: str) -> None:
        """Give it a past of Ann's and Ben's with `word` in it, a key, requests in SQL and in a journal, and files."""
        await asyncio.to_thread(migrate.upgrade, self.url)
        load_secrets(self.var, {})
        engine = open_engine(self.url)
        await api_keys.create_key(engine, app="shop", name=word, now=DAY)
        await engine.dispose()
        for owner in (ANN, BEN):
            await self.speak(owner, word)
        await self.serve(word, 3)
        for name in ("run", "audit"):
            (self.var / name).mkdir(exist_ok=True)
        (self.var / "run/applied.json").write_text(json.dumps({"applied": word}))
        (self.var / "audit/audit-2026-01-01.jsonl").write_text(f'"{word}"\n')
        (self.root / ADAPTER / "adapter.bin").write_bytes(word.encode() * 1000)
        notes = self.root / "configs/bondhu.yaml"
        notes.write_text(f"# {word}\n" + notes.read_text())

    async def speak(self, owner: Owner, word: str) -> None:
        """Store two turns of a person, and a memory of them."""
        async with Past(self) as past:
            turns = [NewMessage(f"{word} {n}", "x", f"My {word} {n}", DAY + timedelta(minutes=n)) for n in range(2)]
            ingested = await past.store.ingest(owner, f"about the {word}", turns)
            quoted = NewMemory(f"Has a {word}", quote=f"My {word}", message_id=ingested.ids[f"{word} 0"])
            await past.store.add(owner, quoted, id_=f"has {word}")

    async def serve(self, worker: str, number: int) -> None:
        """Have a worker answer so many requests, of which the first got to SQL, and die with one more open."""
        engine = open_engine(self.url)
        ledger = self._ledger(engine, worker)
        for each in range(number + 1):
            record = ledger.begin(
                request_id=f"{worker} {each}",
                app="shop",
                key_id="key",
                end_user="ann",
                class_="interactive",
                endpoint="/v1/chat/completions",
                model_asked="bondhu",
            )
            if each < number:
                record.prompt_tokens, record.completion_tokens, record.status = 7, 9, 200
                record.end("ok", error_code=None)
            if each == 0:
                await ledger.flush()
        ledger._journal.close()  # as a killed worker leaves it
        await engine.dispose()

    async def recall(self, owner: Owner, query: str) -> list[str]:
        """Return what is recalled for it, in order."""
        async with Past(self) as past:
            return [found.record.text for found in await past.store.recall(owner, query, limit=9)]

    async def picture(self) -> dict[str, Any]:
        """Return all that a restore has to bring back, as the service would see it."""
        engine = open_engine(self.url)
        adopter = self._ledger(engine, "picture")
        await adopter.adopt()
        await adopter.close()
        keys = sorted((key.name, key.id) for key in await api_keys.list_keys(engine))
        sums = await sum_requests(engine, ["app", "user", "model"])
        await engine.dispose()
        recalled = {owner.user: await self.recall(owner, "My") for owner in (ANN, BEN)}
        files = [self.var / name for name in ("secrets.env", "run/applied.json", "audit/audit-2026-01-01.jsonl")]
        files += [self.root / ADAPTER / "adapter.bin", self.root / "configs/bondhu.yaml"]
        held = {path.name: path.read_text() if path.exists() else None for path in files}
        return {"keys": keys, "sums": sums, "recalled": recalled, "files": held}

    def backup(self, folder: Path, recipient: str, *, erasures: bool = False) -> Path:
        """Back it up."""
        return make(
            self.settings, folder, [recipient], now=NOW, postgres_bin=POSTGRES_BIN, only_erasures=erasures
        )  # fmt: skip

    def restore(self, file: Path, identity: str, **options: Any) -> Restored:
        """Bring a backup back."""
        return restore(self.settings, file, [identity], now=NOW, postgres_bin=POSTGRES_BIN, **options)

    def _ledger(self, engine: Any, worker: str) -> Ledger:
        async def nothing(*_: Any) -> None:
            """Take note of a lost request."""

        hours = 3600.0
        return Ledger(
            directory=self.var / "ledger",
            boot_id=worker.replace(" ", "-"),
            insert=partial(insert_requests, engine),
            on_lost=nothing,
            prices=Prices({}, {}),
            write_s=hours,
            sync_s=hours,
            adopt_s=hours,
            max_bytes=2**30,
        )


def restore_and_die(folder: Path, url: str | None, file: Path, identity: str, moment: int, steps: Path) -> None:
    """Restore, and SIGKILL this process at this of the steps that are reported (from 0); all steps go to a file."""
    passed: list[str] = []

    def report(line: str) -> None:
        passed.append(line)
        steps.write_text("\n".join(passed))
        if len(passed) > moment:
            os.kill(os.getpid(), signal.SIGKILL)

    House(folder, url).restore(file, identity, report=report)


__all__: Sequence[str] = ["ANN", "BEN", "House", "Past", "restore_and_die"]
