"""The page's files over HTTP: few bytes, asked for again only when they change, under a policy that trusts nobody."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.gateway_process import ROOT, GatewayProcess

MAX_BYTES = 150_000
WEB = ROOT / "serving/web"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway without engines: the page is there all the same."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway")) as process:
        yield process


def files() -> list[Path]:
    """Those that are served."""
    return sorted(each for each in WEB.iterdir() if each.suffix in (".html", ".css", ".js", ".svg"))


def test_all_of_it_is_small() -> None:
    """Less than 150 kB, uncompressed."""
    assert 0 < sum(each.stat().st_size for each in files()) < MAX_BYTES


def test_every_file_is_served_with_a_policy_and_a_tag(gateway: GatewayProcess) -> None:
    """As it is; asked for with its tag, it has not changed; nothing but itself may be loaded or called."""
    for file in files():
        path = "/" if file.name == "index.html" else f"/web/{file.name}"
        answer = gateway.get(path)
        assert answer.status_code == 200, path
        assert answer.content == file.read_bytes()
        headers = answer.headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        again = gateway.get(path, **{"if-none-match": headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert gateway.get(path, **{"if-none-match": '"other"'}).status_code == 200


def test_nothing_else_is_served(gateway: GatewayProcess) -> None:
    """Neither the package's module nor what lies beside it, however it is asked for."""
    for path in ("/web/__init__.py", "/web/", "/web/..%2fapp.py", "/web/%2e%2e/app.py", "/web/none.js"):
        assert gateway.get(path).status_code == 404, path
    assert httpx.post(gateway.url + "/").status_code == 405
    assert httpx.head(gateway.url + "/").headers["etag"] == gateway.get("/").headers["etag"]


def test_a_house_may_have_no_page(gateway: GatewayProcess, tmp_path: Path) -> None:
    """`gateway.page: false` leaves the API alone."""
    with GatewayProcess(tmp_path, beside=gateway, BONDHU__GATEWAY__PAGE="false") as other:
        assert other.get("/").status_code == 404
        assert other.get("/web/app.js").status_code == 404


def test_no_file_makes_markup_of_text() -> None:
    """What turns text into elements or code does not occur, nor an address of others."""
    for file in files():
        written = file.read_text()
        forbidden = r"(inner|outer)HTML|insertAdjacentHTML|\.write\(|\beval\(|new Function|DOMParser|\s(style|on\w+)=\""
        assert not re.search(forbidden, written), file.name
        addresses = set(re.findall(r"https?://[\w.-]+", written)) - {
            "http://www.w3.org"
        }  # a namespace, asked for by nobody
        assert not addresses, file.name
