"""Two colours are what docker-compose.cpu.yml runs, and a switch takes nothing away before the other is ready."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SWITCH = SimpleNamespace(**runpy.run_path(str(REPOSITORY / "deploy/docker/blue_green/switch.py")))
OWN = {"image", "build", "ports", "profiles", "depends_on"}  # what a colour has in its own way


def read(name: str) -> dict[str, Any]:
    """Return the services of a compose file."""
    services: dict[str, Any] = yaml.safe_load((REPOSITORY / name).read_text())["services"]
    return services


@pytest.mark.parametrize("colour", SWITCH.COLOURS)
@pytest.mark.parametrize(("service", "of"), [("api", "api"), ("worker", "celery-worker")])
def test_a_colour_is_the_service_that_it_stands_for(colour: str, service: str, of: str) -> None:
    """Commands, limits, confinement and settings are the same, but for the drain that a test may shorten."""
    one, both = read("docker-compose.cpu.yml")[of], read("docker-compose.blue-green.yml")
    mine = both[f"{service}-{colour}"]
    assert set(one) - OWN == set(mine) - OWN
    for key in set(one) - OWN - {"environment"}:
        assert mine[key] == one[key], key
    added = set(mine["environment"].items()) - set(one["environment"].items())
    assert {name for name, _ in added} <= {"BONDHU__GATEWAY__DRAIN_S"}
    assert both[of] == {"profiles": ["one-colour"]}


class Scripted:
    """Containers of which one becomes ready after so many looks, or never; it keeps what is done to them."""

    def __init__(self, ready_after: int | None, open_looks: int = 2) -> None:
        self.done: list[str] = []
        self._ready_after, self._open_looks = ready_after, open_looks
        self._looks = 0

    def run(self, *words: str, check: bool = True) -> str:
        """Keep it."""
        self.done.append(" ".join(words[2:]))
        return ""

    def inside(self, service: str, *words: str) -> tuple[int, str]:
        """Answer as HAProxy does."""
        assert service == "haproxy"
        told = words[words.index(SWITCH.SOCKET) + 1 :]
        if told[0] == "set":
            self.done.append(" ".join(told))
            return 0, "\n"
        self._looks += 1
        is_ready = self._ready_after is not None and self._looks > self._ready_after
        left = max(0, self._open_looks - self.done.count("look"))
        if "set server ready/blue state drain" in self.done:
            self.done.append("look")
        rows = f"{told[2]},blue,{left},9,UP,\n{told[2]},green,0,0,{'UP' if is_ready else 'DOWN'},\n"
        return 0, f"# pxname,svname,scur,stot,status,\n{rows}\n"


def test_the_old_colour_is_drained_when_the_new_one_is_ready_and_stopped_when_it_is_empty() -> None:
    """In this order; one worker ends before the other begins."""
    containers = Scripted(ready_after=2)
    SWITCH.Switch(containers, ready_s=60, drain_s=60, poll_s=0, say=lambda _: None).to("green")
    steps = [each for each in containers.done if each != "look"]
    assert steps == [
        "run --rm --no-deps worker-green init",
        "set server ready/green state ready",
        "set server alive/green state drain",
        "up -d --no-deps api-green",
        "set server alive/green state ready",
        "set server ready/blue state drain",
        "set server alive/blue state drain",
        "stop worker-blue",
        "up -d --no-deps worker-green",
        "stop api-blue",
    ]
    assert containers.done.index("stop worker-blue") > containers.done.index("look")


def test_a_colour_that_is_never_ready_is_stopped_and_the_old_one_serves_on() -> None:
    """Nothing was told to the old one."""
    containers = Scripted(ready_after=None)
    with pytest.raises(SWITCH.NotSwitched, match="blue serves on"):
        SWITCH.Switch(containers, ready_s=0, drain_s=60, poll_s=0, say=lambda _: None).to("green")
    assert containers.done[-1] == "stop api-green"
    assert not [each for each in containers.done if "blue" in each]
