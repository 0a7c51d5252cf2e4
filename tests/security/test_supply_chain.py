"""Everything that is installed is pinned and has its hash, and the Makefile lets pip install nothing else."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from serving.config.load import load_settings
from serving.supervisor.processes import UNUSED_COMMANDS, components, redis_server
from tests.support.gateway_process import ROOT

LOCKS = sorted((ROOT / "deploy/requirements").glob("*.txt"))


def test_the_locks_are_there() -> None:
    """One for each thing that is installed by itself."""
    assert [lock.stem for lock in LOCKS] == ["audit", "build", "cpu", "dev", "gpu", "small", "worker"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_pin_has_a_hash(lock: Path) -> None:
    """Exactly one version, of files that are known."""
    written = lock.read_text()
    pins = re.split(r"\n(?=\S)", written.strip())
    assert pins
    for pin in pins:
        assert re.match(r"[A-Za-z0-9._-]+==[^ ;\\]+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+$", pin), pin[:80]


def test_the_makefile_installs_nothing_without_a_hash() -> None:
    """Each `pip install` says --require-hashes, but for the project itself, which builds with what is installed."""
    written = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installs = re.findall(r"(?:\$\(PIP\)|-m pip|pip)[^\n]*?\binstall\b[^\n]*", written)
    assert len(installs) >= 3
    for install in installs:
        assert "--require-hashes" in install or "--no-deps --no-build-isolation --editable ." in install, install


def test_the_bundled_redis_is_one_without_known_holes() -> None:
    """Valkey 9.1.2 or newer: what is known of older ones is in docs/security.md."""
    version = subprocess.run([redis_server(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"Valkey server v=(\d+)\.(\d+)\.(\d+) ", version)
    assert found is not None, version
    assert tuple(map(int, found.groups())) >= (9, 1, 2), version


def test_the_bundled_redis_lacks_what_nobody_needs() -> None:
    """Commands that holes and file writes need do not exist, and it listens on no port."""
    settings = load_settings(environ={"BONDHU_ROOT": str(ROOT)})
    redis = next(part for part in components(settings) if part.name == "redis").command
    pairs = list(pairwise(redis))
    assert ("--port", "0") in pairs
    assert ("--unixsocketperm", "600") in pairs
    assert {"restore", "migrate", "debug", "module", "config", "replicaof"} <= set(UNUSED_COMMANDS)
    for command in UNUSED_COMMANDS:
        at = redis.index(command)
        assert (redis[at - 1], redis[at + 1]) == ("--rename-command", "")


def test_every_pinned_package_is_listed_with_its_licence() -> None:
    """With its version; after a change of a lock file, run `make licences`."""
    page = (ROOT / "docs/licences.md").read_text()
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \| ([^ |]+) \| [^|]+ \| (?:cpu|gpu) \|", page, re.MULTILINE))
    pinned = set()
    for lock in ("cpu", "gpu", "small", "worker"):
        text = (ROOT / f"deploy/requirements/{lock}.txt").read_text()
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)", text, re.MULTILINE):
            pinned.add((re.sub(r"[-_.]+", "-", name).lower(), version))
    assert listed == pinned
