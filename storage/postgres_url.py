"""The parameters in the query of a Postgres URL, translated for asyncpg.

Hosts give out URLs in libpq's form (https://www.postgresql.org/docs/current/libpq-connect.html). SQLAlchemy passes
every parameter to asyncpg as an argument, but asyncpg accepts libpq's parameters only in a DSN. So they are put into a
DSN that contains nothing else. This module does not know the rest of the URL.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
PLACES = frozenset({"host", "port"})  # SQLAlchemy's own
TLS = frozenset({"sslcert", "sslcrl", "sslkey", "sslpassword", "sslrootcert"})
PASSED = TLS | {"application_name", "sslmode", "target_session_attrs"}
# They tell clients of PgBouncer not to keep prepared statements. This service never keeps any.
IDLE = frozenset({"pgbouncer", "prepared_statement_cache_size", "statement_cache_size"})


class UnknownParameter(ValueError):
    """An unsupported parameter; the text names it, and what is accepted."""


def connect_arguments(query: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of asyncpg for the parameters in `query`, except `PLACES`; raises UnknownParameter."""
    params = {name: value for name, value in query.items() if name not in PLACES | IDLE}
    if "ssl" in params:  # SQLAlchemy's name for it
        params.setdefault("sslmode", params.pop("ssl"))
    for name in params:
        if name not in PASSED:
            raise UnknownParameter(f"unknown parameter `{name}`; accepted: {', '.join(sorted(PLACES | PASSED | IDLE))}")
    if params.get("sslmode", TLS_MODES[0]) not in TLS_MODES:
        raise UnknownParameter(f"unknown sslmode; accepted: {', '.join(TLS_MODES)}")
    return {"dsn": f"postgresql://?{urlencode(params)}"} if params else {}
