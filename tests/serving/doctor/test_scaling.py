"""`bondhu doctor` on a gateway whose disk, memory, processors or model have nothing free."""

import concurrent.futures
import contextlib
import math
import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.observability.host import read_host
from tests.deploy.firing import machines
from tests.serving.doctor.test_doctor import LATER, Patient
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import EngineServer

SECONDS = {**LATER, "BONDHU__DOCTOR__WINDOW_S": "2"}
DISK = 64 * 2**20


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of its own for a folder, where this machine lets the tests mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        yield
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def burn() -> None:
    """Take a core that nobody else wants."""
    os.nice(19)
    while True:
        pass


@contextlib.contextmanager
def busy_processors(cores: float) -> Iterator[None]:
    """Keep this many cores busy with what yields to everything else."""
    context = multiprocessing.get_context("spawn")
    burners = [context.Process(target=burn, daemon=True) for _ in range(math.ceil(cores))]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


@pytest.fixture(scope="module")
def machine() -> Iterator[machines.SmallMachine | None]:
    """A machine of its own for the gateway, without limits yet, where this one lets the tests make one."""
    if not machines.is_possible():
        yield None
        return
    with machines.SmallMachine(f"bondhu-doctor-{os.getpid()}") as machine:
        yield machine


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, machine: machines.SmallMachine | None) -> Iterator[Patient]:
    """A gateway of which a moment's rates count, on a small disk of its own where one can be mounted."""
    folder = tmp_path_factory.mktemp("disk")
    patience = {"BONDHU__ADMISSION__INTERACTIVE_MAX_WAIT_S": "60"}
    with small_disk(folder):
        before = () if machine is None else machine.command
        gateway = GatewayProcess(folder, before=before, BONDHU__EMBEDDER__ENABLED="false", **SECONDS, **patience)
        with EngineServer(gateway.ingress_port) as engine, gateway:
            patient = Patient(gateway, engine, folder)
            patient.finding("model", "healthy")
            yield patient


def test_a_disk_that_fills_is_told(patient: Patient) -> None:
    """From a watch to critical, with what to do; healthy again when it was emptied."""
    folder = patient.folder
    if read_host(folder).disk_bytes != DISK:
        pytest.skip("a disk cannot be mounted here")
    patient.finding("disk", "healthy")
    for share, level in ((0.8, "watch"), (0.9, "warning"), (0.96, "critical")):
        with (folder / "filler").open("ab") as filler:
            filler.write(bytes(int(share * DISK) - (DISK - read_host(folder).disk_free_bytes)))
        assert patient.finding("disk", level)["value"] == pytest.approx(share, abs=0.03)
    assert "du -xsh" in patient.advice("disk")["how"]
    assert patient.advice("disk")["move"] == "repair"
    (folder / "filler").unlink()
    patient.finding("disk", "healthy")


def test_memory_that_fills_is_told(patient: Patient, machine: machines.SmallMachine | None) -> None:
    """By what the container may have; a larger one is advised, twice as large. Healthy again with more room."""
    if machine is None:
        pytest.skip("needs root and control groups of version 1")
    machine.limit_memory(0.8)
    assert patient.finding("memory", "warning")["value"] == pytest.approx(0.8, abs=0.05)
    advice = patient.advice("more_memory")
    assert advice["move"] == "scale up"
    assert "twice" in advice["costs"]
    machine.limit_memory(0.3)
    patient.finding("memory", "healthy")
    assert "more_memory" not in {each["code"] for each in patient.report()["advice"]}


def test_busy_processors_and_people_who_wait_are_told(patient: Patient) -> None:
    """More cores first; more machines when requests wait for a slot of the model, too."""
    engine, cores = patient.engine, read_host(patient.folder).cores
    with busy_processors(cores), concurrent.futures.ThreadPoolExecutor(3) as pool:
        patient.finding("cpu", "critical")
        advice = patient.advice("more_cpu")
        assert advice["move"] == "scale up"
        assert "cores" in advice["how"]
        engine.allow(0)
        requests = [pool.submit(patient.chat, n=60, temperature=1, user=f"u{number}") for number in range(3)]
        out = patient.advice("more_replicas")
        assert out["move"] == "scale out"
        assert "for admission" in out["why"]
        moves = [each["move"] for each in patient.report()["advice"]]
        assert moves == sorted(moves, key=["repair", "optimise", "scale up", "scale out"].index)
        engine.allow(None)
        assert {each.result() for each in requests} == {200}
        eventually(
            lambda: "more_replicas" not in {each["code"] for each in patient.report()["advice"]},
            DEADLINE_S,
            "nobody to wait",
        )
