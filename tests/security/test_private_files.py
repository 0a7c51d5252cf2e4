"""The service's files can be read by its own user only, whichever process made them."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from serving.config.load import load_settings
from serving.config.private_files import exposed, mend, private_paths
from serving.supervisor import supervisor
from tests.support.gateway_process import ROOT, GatewayProcess, make_key


def mode(path: Path) -> int:
    """Return its permissions."""
    return stat.S_IMODE(path.lstat().st_mode)


def test_what_lies_open_is_found_and_mended(tmp_path: Path) -> None:
    """Files and folders, at any depth; what their owner may do stays, and links and what they point at too."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not ours to mend")
    elsewhere.chmod(0o644)
    var = tmp_path / "var"
    (var / "deep/deeper").mkdir(parents=True)
    for name, permissions in {"bondhu.db": 0o644, "deep/run.sh": 0o755, "deep/deeper/log": 0o666}.items():
        (var / name).write_text(name)
        (var / name).chmod(permissions)
    (var / "link").symlink_to(elsewhere)
    for folder in (var / "deep/deeper", var / "deep", var):
        folder.chmod(0o755)
    assert len(list(exposed([var]))) == 6
    assert mend([var, tmp_path / "nothing"]) == 6
    assert list(exposed([var])) == []
    assert (mode(var / "bondhu.db"), mode(var / "deep/run.sh"), mode(var)) == (0o600, 0o700, 0o700)
    assert mode(elsewhere) == 0o644


def test_a_database_elsewhere_is_looked_at_too(tmp_path: Path) -> None:
    """With its write-ahead log, which has the same words in it."""
    environ = {
        "BONDHU_ROOT": str(ROOT),
        "BONDHU_VAR_DIR": str(tmp_path / "var"),
        "BONDHU__DATABASE__URL": f"sqlite+aiosqlite:///{tmp_path}/my.db",
    }
    paths = private_paths(load_settings(environ=environ))
    assert {tmp_path / "var", tmp_path / "my.db", tmp_path / "my.db-wal", tmp_path / "my.db-shm"} <= set(paths)


def test_a_gateway_writes_nothing_that_others_can_read(tmp_path: Path) -> None:
    """Started under an open umask, as most shells have it: database, write-ahead log, journal."""
    before = os.umask(0o022)
    try:
        with GatewayProcess(tmp_path) as gateway:
            key = make_key(gateway.database_url, "shop")
            mend([gateway.var_dir])  # what this test's own process made
            gateway.get("/v1/models", key)
            assert list(exposed([gateway.var_dir])) == []
    finally:
        os.umask(before)


def test_a_stack_mends_its_folders_before_it_starts(tmp_path: Path) -> None:
    """And what is made from then on is closed from its first byte on; `bondhu status` says what is not."""
    var = tmp_path / "var"
    (var / "redis").mkdir(parents=True)
    (var / "redis/dump.rdb").write_bytes(b"words")
    for path in (var / "redis/dump.rdb", var / "redis", var):
        path.chmod(0o755)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BONDHU")},
        "BONDHU_ROOT": str(ROOT),
        "BONDHU_VAR_DIR": str(var),
        "BONDHU__RUNTIME_DIR": str(tmp_path / "run"),
    }
    status = [sys.executable, "-m", "serving.cli", "status"]
    output = subprocess.run(status, env=environ, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "other users can read" in output
    assert "dump.rdb" in output
    before = os.umask(0o022)
    try:
        supervisor.prepare_directories(load_settings(environ=environ))
        (var / "logs/new.log").write_text("a line")
    finally:
        os.umask(before)
    assert list(exposed([var])) == []
    output = subprocess.run(status, env=environ, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "other users" not in output
