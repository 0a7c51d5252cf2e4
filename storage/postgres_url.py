"""What the query of a Postgres address may ask for, and how asyncpg is told of it.

Hosts hand addresses out as libpq takes them (https://www.postgresql.org/docs/current/libpq-connect.html). SQLAlchemy
makes an argument of asyncpg's of every parameter, and asyncpg has no such arguments; it reads libpq's from a DSN only,
so they go into one that says nothing else. It does not know who asks, nor what else an address has.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
PLACES = frozenset({"host", "port"})  # SQLAlchemy's own
TLS = frozenset({"sslcert", "sslcrl", "sslkey", "sslpassword", "sslrootcert"})
PASSED = TLS | {"application_name", "sslmode", "target_session_attrs"}
# Told to other clients of PgBouncer: prepare nothing that lasts. That is so here, whoever asks.
IDLE = frozenset({"pgbouncer", "prepared_statement_cache_size", "statement_cache_size"})


class UnknownParameter(ValueError):
    """The query asks for something that cannot be done; its text names the parameter, and what is accepted."""


def connect_arguments(query: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of asyncpg's for what `query` asks for beyond `PLACES`; raises UnknownParameter."""
    params = {name: value for name, value in query.items() if name not in PLACES | IDLE}
    if "ssl" in params:  # SQLAlchemy's name for it
        params.setdefault("sslmode", params.pop("ssl"))
    for name in params:
        if name not in PASSED:
            raise UnknownParameter(f"unknown parameter `{name}`; accepted: {', '.join(sorted(PLACES | PASSED | IDLE))}")
    if params.get("sslmode", TLS_MODES[0]) not in TLS_MODES:
        raise UnknownParameter(f"unknown sslmode; accepted: {', '.join(TLS_MODES)}")
    return {"dsn": f"postgresql://?{urlencode(params)}"} if params else {}
