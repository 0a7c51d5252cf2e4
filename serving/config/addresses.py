"""Addresses of the stack's services, derived from the settings."""

from pathlib import Path

from serving.config.schema import Settings


def redis_socket(settings: Settings) -> Path | None:
    """Return the embedded Redis's Unix socket; None when `redis.url` names another server."""
    return None if settings.redis.url else settings.runtime_dir / "redis.sock"


def redis_url(settings: Settings) -> str:
    """Return Redis's address as redis-py takes it (`Redis.from_url`)."""
    return settings.redis.url or f"unix://{settings.runtime_dir / 'redis.sock'}"


def database_url(settings: Settings) -> str:
    """Return the SQL database's address as SQLAlchemy's async engine takes it."""
    return settings.database.url or f"sqlite+aiosqlite:///{settings.var_dir / 'bondhu.db'}"


def ingress_url(settings: Settings) -> str:
    """Return the base URL of Ray Serve's private ingress as seen from this machine, without a trailing slash."""
    return f"http://127.0.0.1:{settings.ray.ingress_port}"


def gateway_url(settings: Settings) -> str:
    """Return the gateway's base URL as seen from this machine, without a trailing slash."""
    return f"http://{_reachable(settings.gateway.host)}:{settings.gateway.port}"


def dashboard_url(settings: Settings) -> str:
    """Return the base URL of Ray's dashboard as seen from this machine, without a trailing slash."""
    return f"http://{_reachable(settings.ray.dashboard_host)}:{settings.ray.dashboard_port}"


def _reachable(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared only
    return f"[{host}]" if ":" in host else host
