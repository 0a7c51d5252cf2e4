"""`bondhu doctor` on a gateway all of whose SQL connections wait for somebody's lock."""

import asyncio
import concurrent.futures
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.database import open_engine
from tests.serving.doctor.test_doctor import LATER, Patient
from tests.support.databases.postgres_server import PostgresServer
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import EngineServer

POOL = 4


@contextmanager
def locked(database_url: str, table: str) -> Iterator[None]:
    """Nobody else may read or write the table meanwhile."""
    with asyncio.Runner() as runner:
        database = open_engine(database_url)
        connection = runner.run(database.connect().start())
        runner.run(connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")))
        try:
            yield
        finally:
            runner.run(connection.close())
            runner.run(database.dispose())


@pytest.mark.slow
def test_a_pool_without_free_connections_is_reported(tmp_path: Path, postgres: PostgresServer) -> None:
    """Not only that the database does not answer; with the setting that helps, and well again without the lock."""
    settings = {"BONDHU__DATABASE__POOL_MAX": str(POOL), "BONDHU__EMBEDDER__ENABLED": "false", **LATER}
    gateway = GatewayProcess(tmp_path, DATABASE_URL=postgres.url, **settings)
    with EngineServer(gateway.ingress_port) as engine, gateway:
        patient = Patient(gateway, engine, tmp_path)
        with concurrent.futures.ThreadPoolExecutor(POOL) as pool:
            with locked(postgres.url, "consents"):
                requests = [pool.submit(patient.consent, f"user{number}") for number in range(POOL)]
                assert f"{POOL} of {POOL} pooled connections" in patient.finding("pool", "warning")["says"]
                assert f"pool_max: {2 * POOL}" in patient.advice("small_pool")["how"]
            assert {each.result() for each in requests} == {200}
        eventually(
            lambda: "pool" not in {each["code"] for each in patient.report()["findings"]}, DEADLINE_S, "a free pool"
        )
