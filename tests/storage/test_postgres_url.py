"""Addresses of Postgres as its hosts hand them out: what they ask for is done, or refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from storage import migrate
from storage.database import AWAY, open_engine
from storage.postgres_url import UnknownParameter, connect_arguments
from tests.support.certificates import make_certificate
from tests.support.databases.pgbouncer_server import PgBouncer
from tests.support.databases.postgres_server import PostgresServer
from tests.support.gateway_process import free_port


async def ask(url: str, statement: str) -> object:
    """Return what a statement says on a new connection."""
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            return (await connection.execute(text(statement))).scalar_one()
    finally:
        await engine.dispose()


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
async def test_parameters_of_libpq_reach_the_server(postgres: PostgresServer, mode: str) -> None:
    """Those that it knows are heeded, and those that say "there is PgBouncer" need nothing."""
    url = f"{postgres.url}&sslmode={mode}&pgbouncer=true&prepared_statement_cache_size=0&application_name=a%20shop"
    assert await ask(url, "show application_name") == "a shop"


def test_migrations_take_such_an_address(postgres: PostgresServer) -> None:
    """What `bondhu up` does first works with it as well."""
    migrate.upgrade(f"{postgres.url}&sslmode=prefer&pgbouncer=true")
    migrate.check(postgres.url)


async def test_tls_is_as_strict_as_the_address_says(tmp_path: Path, make_pgbouncer: Callable[..., PgBouncer]) -> None:
    """`require` encrypts, `verify-full` checks who answers, and `disable` is turned away by a server that wants TLS."""
    (tmp_path / "other").mkdir()
    (certificate, key), (stranger, _) = make_certificate(tmp_path), make_certificate(tmp_path / "other")
    port = free_port()
    tls = "client_tls_sslmode = require\nclient_tls_key_file = key.pem\nclient_tls_cert_file = cert.pem\n"
    make_pgbouncer(port=port, more=f"listen_addr = 127.0.0.1\n{tls}", files=[certificate, key])
    url = f"postgresql+asyncpg://bondhu@127.0.0.1:{port}/postgres"
    for query in ("?ssl=require", "?sslmode=require", f"?sslmode=verify-full&sslrootcert={certificate}"):
        assert await ask(url + query, "select 1") == 1
    for query in ("?sslmode=disable", f"?sslmode=verify-full&sslrootcert={stranger}"):
        with pytest.raises(AWAY):
            await ask(url + query, "select 1")


@pytest.mark.parametrize("query", [{"connection_limit": "1"}, {"channel_binding": "require"}, {"sslmode": "yes"}])
def test_what_cannot_be_done_is_refused(query: dict[str, str]) -> None:
    """The refusal names the parameter, and what would be taken."""
    with pytest.raises(UnknownParameter, match=f"{next(iter(query))}.*; accepted: .*"):
        connect_arguments(query)
