"""Prepares what the processes need: the database's tables, the stack's secrets, and API keys.

There is a key for development, one for the Celery worker and one for the web page, which are clients of the gateway.
"""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from serving.config.addresses import database_url, gateway_url
from serving.config.credentials import (
    API_KEY,
    BASE_URL,
    DEV_DAYS,
    JOBS_KEY,
    PAGE_KEY,
    dev_env,
    load_secrets,
    read_env_file,
    secrets_env,
    write_env_file,
)
from serving.config.schema import Settings
from storage import api_keys, migrate
from storage.database import open_engine

log = logging.getLogger(__name__)

DEV_TIER = "admin"  # the key is for the operator
PAGE_APP, PAGE_TIER = "page", "standard"  # a key in a browser must not be an admin key
JOBS_APP, JOBS_TIER = "bondhu", "standard"  # not an admin key: requests that a limit refuses are retried later


def prepare(settings: Settings) -> None:
    """Migrate the database, create the secrets, var/dev.env and the keys; raises what the database raises."""
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    if (settings.var_dir / "restore").exists():  # one that was killed: all or nothing of it, before anything is read
        from serving.backup.restore import resume

        resume(settings, now=lambda: datetime.now(UTC))
    load_secrets(settings.var_dir)
    if not migrate.upgrade_unless_ahead(database_url(settings)):
        log.warning("a newer version has migrated the database: this one uses it as it is")
    asyncio.run(_ensure_keys(settings))


async def _ensure_keys(settings: Settings) -> None:
    engine = open_engine(database_url(settings))
    try:
        dev = dev_env(settings.var_dir)
        key = await _ensure_key(engine, read_env_file(dev).get(API_KEY), app="dev", tier=DEV_TIER, days=DEV_DAYS)
        _keep(dev, {BASE_URL: f"{gateway_url(settings)}/v1", API_KEY: key})
        if settings.gateway.page:
            secrets = secrets_env(settings.var_dir)
            stored = read_env_file(secrets).get(PAGE_KEY)
            key = await _ensure_key(engine, stored, app=PAGE_APP, tier=PAGE_TIER, days=DEV_DAYS)
            _keep(secrets, {PAGE_KEY: key})
        if settings.memory.extraction.model is not None or settings.memory.summaries.model is not None:
            secrets = secrets_env(settings.var_dir)
            key = await _ensure_key(engine, read_env_file(secrets).get(JOBS_KEY), app=JOBS_APP, tier=JOBS_TIER)
            _keep(secrets, {JOBS_KEY: key})
    finally:
        await engine.dispose()


async def _ensure_key(engine: AsyncEngine, secret: str | None, *, app: str, tier: str, days: int | None = None) -> str:
    """Return the key if it is valid, else a new one that is valid for `days` (None: no expiry)."""
    now = datetime.now(UTC)
    if secret is not None and await api_keys.find_key(engine, api_keys.hash_key(secret), now) is not None:
        return secret
    expires_at = None if days is None else now + timedelta(days=days)
    new_key = await api_keys.create_key(
        engine, app=app, name="made by bondhu up", now=now, tier=tier, expires_at=expires_at
    )
    return new_key.secret


def _keep(path: Path, values: dict[str, str]) -> None:
    """Ensure that the file has these values and that only its owner can read it."""
    stored = read_env_file(path)
    merged = {**stored, **values}
    if merged != stored or path.stat().st_mode & 0o077:
        write_env_file(path, merged)
