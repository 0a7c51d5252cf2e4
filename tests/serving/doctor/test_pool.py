"""`bondhu doctor` on a gateway all of whose SQL connections wait for somebody's lock."""

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
def locked(database_url: str, table: str) -> Iterator[Callable[[], int]]:
    """Nobody else may read or write the table meanwhile; gives what counts who waits for it."""
    with asyncio.Runner() as runner:
        database = open_engine(database_url)
        connection = runner.run(database.connect().start())
        runner.run(connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")))

        def waiting() -> int:
            locks = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return int(runner.run(connection.execute(locks)).scalar_one())

        try:
            yield waiting
        finally:
            runner.run(connection.close())
            runner.run(database.dispose())


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Patient]:
    """A gateway that keeps one connection open and may open some more."""
    folder = tmp_path_factory.mktemp("pool")
    pool = {"BONDHU__DATABASE__POOL_MIN": "1", "BONDHU__DATABASE__POOL_MAX": str(POOL)}
    gateway = GatewayProcess(folder, DATABASE_URL=postgres.url, BONDHU__EMBEDDER__ENABLED="false", **pool, **LATER)
    with EngineServer(gateway.ingress_port) as engine, gateway:
        yield Patient(gateway, engine, folder)


@pytest.mark.slow
def test_a_pool_without_free_connections_is_reported(patient: Patient, postgres: PostgresServer) -> None:
    """Not only that the database does not answer; with the setting that helps, and well again without the lock."""
    with concurrent.futures.ThreadPoolExecutor(POOL) as pool:
        with locked(postgres.url, "consents"):
            requests = [pool.submit(patient.consent, f"user{number}") for number in range(POOL)]
            assert f"{POOL} of {POOL} pooled connections" in patient.finding("pool", "warning")["says"]
            assert f"pool_max: {2 * POOL}" in patient.advice("small_pool")["how"]
        assert {each.result() for each in requests} == {200}
    eventually(lambda: "pool" not in {each["code"] for each in patient.report()["findings"]}, DEADLINE_S, "a free pool")


@pytest.mark.slow
def test_a_pool_that_keeps_too_few_connections_is_reported(patient: Patient, postgres: PostgresServer) -> None:
    """People who come together find one connection open; the others are opened for them and closed again."""
    for number in range(8):
        with concurrent.futures.ThreadPoolExecutor(POOL) as pool:
            with locked(postgres.url, "consents") as waiting:
                requests = [pool.submit(patient.consent, f"user{number}-{each}") for each in range(POOL)]
                eventually(lambda: waiting() == POOL, DEADLINE_S, "all connections in use")
            assert {each.result() for each in requests} == {200}
    advice = patient.advice("no_pool")
    assert advice["move"] == "optimise"
    assert f"pool_min: {POOL // 2}" in advice["how"]
