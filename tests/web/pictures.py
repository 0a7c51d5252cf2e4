"""Take the pictures of docs/page.md: `PYTHONPATH=tests:tests/web python tests/web/pictures.py docs/images`."""

import sys
import tempfile
from pathlib import Path

import httpx
from browser import DESKTOP, PHONE, find_chromium, open_browser, screen
from house import open_house
from playwright.sync_api import Browser, Page


def say(page: Page, text: str) -> None:
    """Say it and wait for the whole answer."""
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")
    page.locator("li.theirs").last.locator(".where").wait_for()


def come_in(browser: Browser, url: str, key: str, size: dict[str, int], scheme: str) -> Page:
    """The page of a new visitor."""
    page = browser.new_context(**screen(size, scheme)).new_page()
    page.goto(url)
    page.get_by_label("Your name").fill("Asha")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Come in").click()
    page.get_by_label("Your message").wait_for()
    return page


def main(folder: Path) -> None:
    """Take them all."""
    path = find_chromium()
    assert path is not None, "no Chromium here: `apt-get install chromium` brings one"
    with tempfile.TemporaryDirectory() as home, open_house(Path(home)) as (gateway, _):
        key = gateway.make_key("page", tier="admin")
        headers = {"authorization": f"Bearer {key}", "x-bondhu-user": "Asha"}
        told = [
            "Reads by the window when it rains",
            "Her sister Mitali lives in Khulna",
            "Wants to walk more this winter",
        ]
        for text, kind in zip(told, ("preference", "person", "goal"), strict=True):
            httpx.post(f"{gateway.url}/api/v1/memories", headers=headers, json={"text": text, "kind": kind})
        with open_browser(path) as browser:
            for scheme in ("light", "dark"):
                for name, size in (("phone", PHONE), ("desktop", DESKTOP)):
                    shoot(browser, gateway.url, key, size, scheme, folder / f"page-{{}}-{name}-{scheme}.png")


def shoot(browser: Browser, url: str, key: str, size: dict[str, int], scheme: str, target: Path) -> None:
    """The pictures of one screen."""

    def take(page: Page, what: str) -> None:
        page.wait_for_timeout(250)
        page.screenshot(path=str(target).format(what))

    door = browser.new_context(**screen(size, scheme)).new_page()
    door.goto(url)
    door.get_by_label("Key").wait_for()
    take(door, "door")
    page = come_in(browser, url, key, size, scheme)
    page.get_by_role("button", name="New conversation").click()
    take(page, "hello")
    for text in ("Do you smell the rain?", "Some music for the evening?", "Let's play!"):
        say(page, text)
    page.locator("li.theirs").nth(1).scroll_into_view_if_needed()
    take(page, "chat")
    page.locator(".scroll").evaluate("each => each.scrollTop = 0")
    page.get_by_role("button", name="Why did you say that?").first.click()
    page.locator(".why li").first.wait_for()
    take(page, "why")
    page.locator(".scroll").evaluate("each => each.scrollTop = each.scrollHeight")
    take(page, "game")
    for place in ("Memory", "Privacy", "Usage"):
        page.get_by_role("link", name=place).click()
        page.wait_for_load_state("networkidle")
        take(page, place.lower())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
