"""What must exist before the processes start: the database's tables, the stack's secrets and a key to try it with."""

import asyncio
from datetime import UTC, datetime

from serving.addresses import database_url, gateway_url
from serving.config_schema import Settings
from serving.credentials import API_KEY, BASE_URL, dev_env, load_secrets, read_env_file, write_env_file
from storage import keys, migrate
from storage.database import open_engine

DEV_TIER = "admin"  # whoever runs the stack owns the machine


def prepare(settings: Settings) -> None:
    """Migrate the database, make the secrets and var/dev.env. Raises what the database raises."""
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    load_secrets(settings.var_dir)
    migrate.upgrade(database_url(settings))
    asyncio.run(_ensure_dev_key(settings))


async def _ensure_dev_key(settings: Settings) -> None:
    """Keep the key in var/dev.env while it is valid, else make one."""
    path = dev_env(settings.var_dir)
    stored = read_env_file(path)
    engine = open_engine(database_url(settings))
    try:
        secret = stored.get(API_KEY)
        now = datetime.now(UTC)
        if secret is None or await keys.find_key(engine, keys.hash_key(secret), now) is None:
            made = await keys.create_key(engine, app="dev", name="made by bondhu up", now=now, tier=DEV_TIER)
            secret = made.secret
    finally:
        await engine.dispose()
    wanted = {**stored, BASE_URL: f"{gateway_url(settings)}/v1", API_KEY: secret}
    if wanted != stored or path.stat().st_mode & 0o077:
        write_env_file(path, wanted)
