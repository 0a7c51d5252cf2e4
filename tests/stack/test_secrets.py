"""Who holds no key gets nothing, and keys lie where only their owner can read them."""

import ipaddress
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from serving.config.load import load_settings
from tests.support.local_stack import LocalStack


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/tokenize", "/version", "/openapi.json", "/v1/nonsense"])
@pytest.mark.parametrize("key", [None, "wrong"])
def test_an_engine_answers_only_a_holder_of_its_key(stack: LocalStack, path: str, key: str | None) -> None:
    """Every path of an engine is 401 without the key of this boot."""
    (replica,) = stack.replicas()
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    assert httpx.get(replica["address"] + path, headers=headers).status_code == 401


def test_an_engine_does_not_take_a_callers_key(stack: LocalStack) -> None:
    """A key for the service opens no engine."""
    (replica,) = stack.replicas()
    headers = {"authorization": f"Bearer {stack.api_key}"}
    body = {"model": replica["model"], "prompt": "Hi", "max_tokens": 1}
    assert httpx.post(f"{replica['address']}/v1/completions", json=body, headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["/directory", "/embedder"])
@pytest.mark.parametrize("key", [None, "", "wrong"])
def test_the_private_ingress_answers_only_a_holder_of_the_cluster_key(
    stack: LocalStack, path: str, key: str | None
) -> None:
    """Directory and embedder are 401 without the cluster key."""
    if path == "/embedder":
        path = f"/{load_settings(environ=stack.env).embedder.application}"
    headers = {} if key is None else {"x-bondhu-cluster-key": key}
    answer = httpx.request("GET" if path == "/directory" else "POST", stack.ingress_url + path, headers=headers)
    assert answer.status_code == 401


def test_the_dashboard_wants_its_token(stack: LocalStack) -> None:
    """Ray's dashboard and its API answer only with the token."""
    url = f"http://127.0.0.1:{stack.ports['RAY__DASHBOARD_PORT']}/api/serve/applications/"
    assert httpx.get(url).status_code == 401
    token = stack.secret("secrets.env", "RAY_AUTH_TOKEN")
    assert httpx.get(url, headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_everything_listens_on_loopback(stack: LocalStack) -> None:
    """No process listens where another machine could reach it, but for the gRPC port of Ray Serve's replicas.

    Ray 2.60 binds that one to every address and has no setting for it (README, "Opening it to the network").
    """
    open_to_all = [
        f"{process.pid} {process.name()} {connection.laddr}"
        for process in stack.processes(".")
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
        and not _is_loopback(connection.laddr.ip)
        and not process.name().startswith("ray::ServeRepl")
    ]
    assert open_to_all == []


def secrets(stack: LocalStack) -> dict[str, str]:
    """Every secret of the stack by name."""
    (replica,) = stack.replicas()
    return {
        "API key": stack.api_key,
        "Ray's token": stack.secret("secrets.env", "RAY_AUTH_TOKEN"),
        "cluster key": stack.secret("secrets.env", "BONDHU_CLUSTER_KEY"),
        "scrape token": stack.secret("secrets.env", "BONDHU_SCRAPE_TOKEN"),
        "the page's key": stack.secret("secrets.env", "BONDHU_PAGE_KEY"),
        "engine key": replica["key"],
    }


def test_no_command_line_shows_a_secret(stack: LocalStack) -> None:
    """Command lines, which every user of a machine can read, hold no key."""
    lines = [" ".join(process.cmdline()) for process in stack.processes(".")]
    assert lines
    for name, value in secrets(stack).items():
        assert not [line for line in lines if value in line], name


def test_no_log_shows_a_secret(stack: LocalStack) -> None:
    """No file that the stack writes, its logs and Ray's included, holds a key, but the two that are meant to."""
    meant = {stack.var_dir / "dev.env", stack.var_dir / "secrets.env"}
    written = [stack.output]
    for folder in (stack.var_dir, stack.runtime_dir):
        written += [path for path in folder.rglob("*") if path.is_file() and path not in meant]
    assert any("logs" in path.parts for path in written)
    contents = {path: path.read_bytes() for path in written}
    for name, value in secrets(stack).items():
        assert [path for path, content in contents.items() if value.encode() in content] == [], name


@pytest.mark.parametrize("name", ["dev.env", "secrets.env"])
def test_files_with_keys_are_the_owners(stack: LocalStack, name: str) -> None:
    """Files with keys have mode 600."""
    assert _mode(stack.var_dir / name) == 0o600


def test_sockets_are_the_owners(stack: LocalStack) -> None:
    """The directory of the stack's sockets has mode 700."""
    assert _mode(stack.runtime_dir) == 0o700


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback  # the prefix: IPv4 on an IPv6 socket


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
