"""A house with a friend in it, and browsers to visit it with; skipped, with the reason, where there is no Chromium."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.browser import DESKTOP, find_chromium, open_browser, screen
from tests.web.house import House, Visit, open_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Return a house whose key is an application's, with limits that a test does not reach."""
    with open_house(tmp_path_factory.mktemp("house")) as (gateway, friend):
        yield House(gateway, friend, gateway.make_key("page", tier="admin"))


@pytest.fixture(scope="module")
def browser(house: House) -> Iterator[Browser]:
    """Return Chromium."""
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium here: `apt-get install chromium` brings one")
    with open_browser(path) as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, house: House) -> Iterator[Callable[..., Visit]]:
    """Return what opens an empty page; at the end nothing must have been asked of others, and nothing have broken."""
    visits: list[Visit] = []

    def make(size: dict[str, int] = DESKTOP, scheme: str = "light", **options: Any) -> Visit:
        page = browser.new_context(**screen(size, scheme, **options)).new_page()
        page.set_default_timeout(20_000)
        page.add_init_script("try { sessionStorage.setItem('bondhu.model', 'bondhu') } catch {}")  # the scripted friend
        made = Visit(page)
        page.on("request", lambda request: made.requests.append(request.url))
        page.on("pageerror", lambda error: made.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (made.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda line: made.complaints.append(line.text) if "Content Security" in line.text else None)
        visits.append(made)
        return made

    yield make
    for each in visits:
        outside = [url for url in each.requests if not url.startswith((house.gateway.url, "blob:"))]
        each.page.context.close()
        assert not outside, "the page asked others"
        assert not each.complaints
