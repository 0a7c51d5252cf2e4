"""The compose files say what they should: by the official schema (compose-spec, Apache-2.0), and by what we promise."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from serving.config.load import load_settings
from serving.supervisor.processes import components

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted(path.name for path in REPOSITORY.glob("docker-compose*.yml"))
SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
VARIABLE = re.compile(r"\$\{[A-Z_]+(?::?[-?][^}]*)?\}")


def read(name: str) -> dict[str, Any]:
    """Return a compose file as a parser of YAML 1.1 with merge keys sees it."""
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / name).read_text())
    return loaded


def services(name: str) -> dict[str, Any]:
    """Return its services, without those that an override only switches off."""
    found: dict[str, Any] = read(name)["services"]
    return {service: about for service, about in found.items() if set(about) != {"profiles"}}


def mib(text: str) -> float:
    """Return a size as compose writes it, in MiB."""
    number, unit = re.fullmatch(r"(\d+(?:\.\d+)?)([MG])", text.upper()).groups()  # type: ignore[union-attr]
    return float(number) * {"M": 1, "G": 1024}[unit]


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_is_one_by_the_official_schema(name: str) -> None:
    """No key that Docker does not know, no value of another type."""
    errors = [
        f"{'/'.join(map(str, error.path))}: {error.message}"
        for error in Draft7Validator(SCHEMA).iter_errors(read(name))
    ]
    assert errors == []


def test_the_schema_would_notice_a_wrong_file() -> None:
    """A misspelt key and a wrong type are errors."""
    wrong = {"services": {"a": {"image": "x", "restart": 3, "imagee": "y"}}}
    assert len(list(Draft7Validator(SCHEMA).iter_errors(wrong))) >= 2


@pytest.mark.parametrize("name", FILES)
def test_no_secret_stands_in_a_compose_file(name: str) -> None:
    """What is secret comes from the environment without a default, or from a file."""
    for service, about in services(name).items():
        for key, value in (about.get("environment") or {}).items():
            if key.endswith(("_KEY", "_TOKEN", "_PASSWORD", "DATABASE_URL")):
                assert VARIABLE.fullmatch(str(value)) or str(value).startswith("/run/secrets/"), f"{service}: {key}"
                assert str(value).endswith((":-}", "}")), f"{service}: {key} has a default"


@pytest.mark.parametrize("name", FILES)
def test_every_long_lived_service_is_confined(name: str) -> None:
    """Limits of memory, a read-only root, a restart policy, logs that end; and nothing privileged."""
    for service, about in services(name).items():
        assert "memory" in about["deploy"]["resources"]["limits"], service
        assert about.get("read_only"), service
        assert about.get("restart"), service
        assert about.get("logging", {}).get("options", {}).get("max-size"), service
        assert not about.get("privileged"), service
        assert about.get("network_mode") != "host", service
        assert not {"ipc", "pid"} & about.keys(), f"{service}: what it leaves behind would outlive it"


@pytest.mark.parametrize("name", FILES)
def test_our_containers_have_somewhere_to_write(name: str) -> None:
    """Caches of vLLM, Ray and Python go below HOME, which is /tmp in the images, whatever user runs there."""
    for service, about in services(name).items():
        if about["image"].partition(":")[0].endswith("bondhu"):
            assert any(place.startswith("/tmp:") and "mode=1777" in place for place in about["tmpfs"]), service


@pytest.mark.parametrize("name", FILES)
def test_a_stop_waits_for_the_answers_that_are_under_way(name: str) -> None:
    """The gateway drains first and Ray goes after it: an engine that got SIGTERM would abort what runs."""
    parts = {part.name: part.grace_s for part in components(load_settings(REPOSITORY, environ={}))}
    for service, about in services(name).items():
        if "--gateway" in about.get("command", []):
            assert int(about["stop_grace_period"].removesuffix("s")) > parts["gateway"] + parts["ray"], service


@pytest.mark.parametrize("name", FILES)
def test_ray_has_the_shared_memory_that_its_object_store_takes(name: str) -> None:
    """An engine's container gets 64 MB otherwise; the store is said where it is less than that container's."""
    engines = [about for about in services(name).values() if "ray-head" in about.get("command", [])]
    for about in engines:
        store = about["environment"].get("BONDHU__RAY__OBJECT_STORE_MB", "100")
        assert mib(about["shm_size"]) > int(store)


@pytest.mark.parametrize("name", FILES)
def test_no_redis_may_lose_the_queue(name: str) -> None:
    """A policy is said, and it is none of allkeys-* where jobs are kept."""
    for service, about in services(name).items():
        if "redis-server" in (about.get("command") or []):
            words = about["command"]
            policy = words[words.index("--maxmemory-policy") + 1]
            assert policy in ("volatile-lru", "noeviction"), service


def test_the_small_machine_has_the_limits_that_are_promised() -> None:
    """The three long-lived containers of a B2s and what each may take."""
    expected = {"redis": (128, 0.25, 64, 0.1), "api": (1536, 0.75, 512, 0.25), "celery-worker": (1024, 0.5, 256, 0.15)}
    found = services("docker-compose.cpu.yml")
    for service, numbers in expected.items():
        limits, reserved = (found[service]["deploy"]["resources"][key] for key in ("limits", "reservations"))
        actual = (mib(limits["memory"]), float(limits["cpus"]), mib(reserved["memory"]), float(reserved["cpus"]))
        assert actual == numbers, service
    redis = found["redis"]["command"]
    pairs = {("--maxmemory", "64mb"), ("--maxmemory-policy", "volatile-lru"), ("--maxclients", "100"), ("--save", "")}
    assert pairs <= set(itertools.pairwise(redis))
    started = [name for name, about in found.items() if not about.get("profiles")]
    assert sorted(started) == ["api", "celery-worker", "init", "redis"]


def test_the_worker_of_the_small_machine_ends_tasks_and_itself_in_time() -> None:
    """300 s a task, 50 tasks a process, and memory well below the container's; a stop waits for the task at hand."""
    worker = services("docker-compose.cpu.yml")["celery-worker"]
    environment = worker["environment"]
    assert (environment["BONDHU__WORKER__TASK_TIMEOUT_S"], environment["BONDHU__WORKER__MAX_TASKS"]) == ("300", "50")
    assert int(environment["BONDHU__WORKER__MAX_MEMORY_MB"]) < mib(worker["deploy"]["resources"]["limits"]["memory"])
    assert int(worker["stop_grace_period"].removesuffix("s")) > 300
    assert worker["restart"] == "unless-stopped"
