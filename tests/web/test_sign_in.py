"""Links that open the page once: for one browser, for a while, with a key that is no administrator's."""

from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import expect

from serving.auth.sign_in import LINK_MINUTES, link, make_code, redeem
from serving.config.credentials import PAGE_KEY, secrets_env, write_env_file
from tests.web.house import House, Visit


def test_a_code_is_good_once_and_for_a_while(tmp_path: Path) -> None:
    """The second who brings it gets nothing, nor does who comes late or guesses; what is kept does not tell it."""
    write_env_file(secrets_env(tmp_path), {PAGE_KEY: "the-key"})
    code = make_code(tmp_path)
    assert code not in " ".join(str(each) for each in tmp_path.rglob("*"))
    assert redeem(tmp_path, "a guess") is None
    assert redeem(tmp_path, code) == "the-key"
    assert redeem(tmp_path, code) is None
    late = make_code(tmp_path)
    (file,) = (tmp_path / "sign-in").iterdir()
    made = file.stat().st_mtime
    assert redeem(tmp_path, late, clock=lambda: made + 60 * LINK_MINUTES + 1) is None
    assert redeem(tmp_path, late) is None


def test_a_browser_comes_in_by_a_link_once(house: House, visit: Callable[..., Visit]) -> None:
    """It needs no key; the code leaves the address bar; another browser is told that it was used."""
    write_env_file(secrets_env(house.gateway.var_dir), {PAGE_KEY: house.key})
    address = link(house.gateway.url, make_code(house.gateway.var_dir))
    page = visit().page
    page.goto(address)
    page.get_by_label("Your name").fill("Linked")
    expect(page.get_by_label("Key", exact=True)).to_be_hidden()
    assert "once" not in page.url
    page.get_by_role("button", name="Come in").click()
    expect(page.get_by_label("Your message")).to_be_visible()
    other = visit().page
    other.goto(address)
    expect(other.get_by_text("This link was used before")).to_be_visible()
    expect(other.get_by_label("Key", exact=True)).to_be_visible()


def test_without_a_code_nothing_is_revealed(house: House) -> None:
    """Whatever is sent instead."""
    for header in ("", "Once", "Once ../secrets.env", f"Bearer {house.key}", "Once " + "x" * 5000):
        answer = httpx.post(f"{house.gateway.url}/api/v1/sign-in", headers={"authorization": header})
        assert answer.status_code == 401, header
        assert house.key not in answer.text
