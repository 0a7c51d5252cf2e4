"""Restores a backup completely or not at all, even if it is killed.

1. The backup is unpacked and checked, and later erasures are repeated, below `var/restore`; the service's state is not
   touched.
2. The decision is one step: for SQLite a new file, for Postgres the transaction that restores the rows.
3. Each file is renamed to its place; after a crash `resume` continues, as often as needed. Then the database is checked
   where it is now.

A crash before the second step leaves the old state. After it, `resume` completes the new state: `bondhu up`,
`bondhu init` and the next `bondhu restore` begin with it.
"""

import asyncio
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from sqlalchemy import text

from serving.backup import archive, collect, make, places, postgres_tools, snapshot
from serving.backup.errors import BackupError, Damaged, Running
from serving.backup.manifest import POSTGRES_DUMP, SQLITE_DUMP, BackupFile, ErasureList, Manifest
from serving.backup.placing import Plan, place_all
from serving.backup.verify import unpack_checked
from serving.config.addresses import database_url
from serving.config.schema import Settings
from serving.ledger.write_ahead_log import WriteAheadLog
from storage import migrate
from storage.database import open_engine
from storage.erasure.log import ErasureLog
from storage.erasure.replay import Entry, replay

FOLDER, PLAN, DECIDED, LISTS = "restore", "plan.json", "decided", "lists.json"
LOCK_TIMEOUT_MS = 15_000
Report = Callable[[str], None]
_MIGRATIONS_MADE_LAST = (
    "SELECT oid::regclass FROM pg_class WHERE relname = 'alembic_version' AND relkind = 'r' ORDER BY oid DESC LIMIT 1"
)
_LOCK = "SELECT pg_advisory_xact_lock(6237492110843)"  # an arbitrary number, for one restore at a time


@dataclass(frozen=True, slots=True)
class Restored:
    """A completed restore: the manifest, and how much was erased again."""

    manifest: Manifest
    forgotten: int


def restore(
    settings: Settings,
    file: Path,
    identities: Sequence[str],
    *,
    now: Callable[[], datetime],
    lists_from: Sequence[Path] = (),
    keep_configuration: bool = False,
    postgres_bin: Path | None = None,
    report: Report = lambda _: None,
) -> Restored:
    """Restore the state of the service from the backup `file`, without data that was erased since.

    The lists of erasures of the archives in `lists_from` apply too. Raises BackupError, OSError and the database's
    errors; then nothing has changed, except after Damaged that says so.
    """
    resume(settings, now=now, report=report)
    refuse_if_running(settings)
    work = settings.var_dir / FOLDER
    work.mkdir(mode=0o700, parents=True)
    try:
        manifest = unpack_checked(file, identities, work / "unpacked", postgres_bin=postgres_bin)
        if manifest.database is None:
            raise BackupError(f"{file} has only a list of erasures: choose a full backup")
        url = database_url(settings)
        is_sqlite = snapshot.sqlite_file(url) is not None
        if is_sqlite != (manifest.database == "sqlite"):
            raise BackupError(
                f"{file} is a backup of {manifest.database}, but the configuration names another database"
            )
        lists = _lists(settings, file, identities, lists_from)
        report("unpacked and checked")
        forgotten = 0
        if is_sqlite:
            forgotten = _erase_again(f"sqlite+aiosqlite:///{work / 'unpacked' / SQLITE_DUMP}", lists, now())
            snapshot.check_sqlite(work / "unpacked" / SQLITE_DUMP)
            report(f"erased again: {forgotten}")
        plan = _plan(settings, manifest, keep_configuration)
        (work / LISTS).write_text(json.dumps([erasures.model_dump(mode="json") for erasures in lists]))
        (work / PLAN).write_text(plan.model_dump_json())
        _sync_below(work)
        report("prepared")
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    if is_sqlite:
        _decide(work)
    else:
        try:
            _restore_postgres(url, work, plan.id, {*snapshot.our_tables(), *manifest.tables}, postgres_bin, report)
        except BackupError:
            shutil.rmtree(work, ignore_errors=True)
            raise
    report("decided")
    return Restored(manifest, forgotten + _finish(settings, work, plan, now(), report))


def resume(settings: Settings, *, now: Callable[[], datetime], report: Report = lambda _: None) -> bool:
    """End a restore that was killed: complete it if it was decided, else drop it. Returns whether there was one."""
    work = settings.var_dir / FOLDER
    if not work.exists():
        return False
    refuse_if_running(settings)
    plan = Plan.model_validate_json((work / PLAN).read_text()) if (work / PLAN).exists() else None
    if plan is not None and ((work / DECIDED).exists() or _is_in_postgres(database_url(settings), plan.id)):
        report("an interrupted restore is completed")
        _finish(settings, work, plan, now(), report)
    else:
        report("an interrupted restore had changed nothing and is dropped")
        shutil.rmtree(work)
    return True


def refuse_if_running(settings: Settings) -> None:
    """Raise Running if a gateway worker holds its journal."""
    for path in (settings.var_dir / collect.JOURNALS).glob("*.journal"):
        journal = WriteAheadLog.claim(path)
        if journal is None and path.exists():
            raise Running("the gateway is running: stop the service first (`bondhu down`)")
        if journal is not None:
            journal.close()


def _lists(settings: Settings, file: Path, identities: Sequence[str], further: Sequence[Path]) -> list[ErasureList]:
    """All known erasures: of this machine's database, and of the archives next to this one."""
    siblings = [path for path in places.archives(file.parent) if path.resolve() != file.resolve()]
    lists = [archive.peek(path, identities)[1] for path in dict.fromkeys((*siblings, *further))]
    current = ErasureList(key=make.erasure_key(settings), entries=snapshot.erasures_now(database_url(settings)))
    return [erasures for erasures in (current, *lists) if erasures.entries]


def _plan(settings: Settings, manifest: Manifest, keep_configuration: bool) -> Plan:
    moves: list[tuple[str, str]] = []
    database = snapshot.sqlite_file(database_url(settings))
    removes = [str(path) for path in (settings.var_dir / collect.JOURNALS).glob("*") if path.is_file()]
    removes.append(str(settings.var_dir / "redis/dump.rdb"))
    if database is not None:
        removes += [f"{database}{end}" for end in ("-wal", "-shm", "-journal")]
        moves.append((f"unpacked/{SQLITE_DUMP}", str(database.resolve())))
    for file in manifest.files:
        target = _target(settings, file)
        if file.part == "configuration" and keep_configuration:
            continue
        if file.base != "var" and target.is_file() and collect.sha256(target) == file.sha256:
            continue  # an identical file may be in a read-only root
        moves.append((f"unpacked/{file.member}", str(target)))
    blocked = [target for _, target in moves if not _is_writable(Path(target))]
    if blocked:
        raise BackupError(f"{blocked[0]} is not writable; to keep the current configuration, give --keep-configuration")
    return Plan(id=secrets.token_hex(16), moves=tuple(moves), removes=tuple(removes))


def _target(settings: Settings, file: BackupFile) -> Path:
    bases = {"var": settings.var_dir, "root": settings.root, "absolute": Path("/")}
    target = (bases[file.base] / file.path.lstrip("/")).resolve() if file.base != "absolute" else Path(file.path)
    if file.base != "absolute" and not target.is_relative_to(bases[file.base].resolve()):
        raise Damaged(f"{file.path} is outside of its folder")
    return target


def _is_writable(path: Path) -> bool:
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _decide(work: Path) -> None:
    (work / f"{DECIDED}.new").touch()
    (work / f"{DECIDED}.new").replace(work / DECIDED)
    archive.sync_folder(work)


def _finish(settings: Settings, work: Path, plan: Plan, now: datetime, report: Report) -> int:
    """Execute everything after the decision; may be repeated."""
    place_all(plan, work, report)
    url = database_url(settings)
    forgotten = 0
    if snapshot.sqlite_file(url) is None:
        lists = [ErasureList.model_validate(erasures) for erasures in json.loads((work / LISTS).read_text())]
        forgotten = _erase_again(url, lists, now)
        report(f"erased again: {forgotten}")
    (work / PLAN).unlink()  # first: without the plan, the rest is ignored
    shutil.rmtree(work)
    try:
        snapshot.check_database(url)
    except Damaged as problem:
        raise Damaged(f"everything was restored, but {problem}; check the disk, then restore another backup") from None
    report("done")
    return forgotten


def _erase_again(url: str, lists: Sequence[ErasureList], now: datetime) -> int:
    """Migrate the database, and repeat the erasures of the lists; returns how much was deleted."""
    migrate.upgrade(url)

    async def run() -> int:
        engine = open_engine(url)
        try:
            erased = 0
            for erasures in lists:
                entries = [Entry(entry.id, entry.digest, entry.at) for entry in erasures.entries]
                erased += await replay(engine, ErasureLog(erasures.key, lambda: now), entries, now=now)
            return erased
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _restore_postgres(
    url: str, work: Path, id_: str, tables: Iterable[str], postgres_bin: Path | None, report: Report
) -> None:
    """Replace our tables by those of the dump, and record the restore's id, in one transaction."""
    script = work / "restore.sql"
    flags = ["--no-owner", "--no-privileges", f"--file={script}", str(work / "unpacked" / POSTGRES_DUMP)]
    postgres_tools.run("pg_restore", flags, None, postgres_bin)
    drops = "".join(f'DROP TABLE IF EXISTS "{name}" CASCADE;\n' for name in sorted(tables))
    mark = (
        f"DO $$ BEGIN EXECUTE format('COMMENT ON TABLE %s IS %L', ({_MIGRATIONS_MADE_LAST}), 'restored {id_}'); END $$;"
    )

    def write(target: IO[bytes]) -> None:
        target.write(f"SET lock_timeout = {LOCK_TIMEOUT_MS};\n{_LOCK};\n{drops}".encode())
        with script.open("rb") as source:
            shutil.copyfileobj(source, target)
        target.write(f"\n{mark}\n".encode())

    postgres_tools.transaction(write, url, postgres_bin, lambda: report("about to decide"))


def _is_in_postgres(url: str, id_: str) -> bool:
    """Whether the transaction of this restore was committed; waits for a pending one."""
    if snapshot.sqlite_file(url) is not None:
        return False

    async def is_marked() -> bool:
        engine = open_engine(url)
        query = text("SELECT obj_description(to_regclass(:name), 'pg_class')")
        try:
            async with engine.begin() as connection:
                await connection.execute(text(_LOCK))
            async with engine.connect() as connection:
                comment = (await connection.execute(query, {"name": snapshot.MIGRATIONS})).scalar_one_or_none()
        finally:
            await engine.dispose()
        return bool(comment == f"restored {id_}")

    return asyncio.run(is_marked())


def _sync_below(folder: Path) -> None:
    for path in folder.rglob("*"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


__all__ = ["Restored", "refuse_if_running", "restore", "resume"]
