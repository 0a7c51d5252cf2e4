"""Take the pictures of docs/page.md: `python -m tests.web.pictures docs/images`."""

import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Page

from tests.support.browser import DESKTOP, PHONE, find_chromium, open_browser, screen
from tests.web.house import open_house

SIZES = (("phone", PHONE), ("desktop", DESKTOP))
CHOSEN = {
    "door-desktop-light",
    "hello-phone-light",
    "chat-desktop-light",
    "chat-phone-dark",
    "why-desktop-dark",
    "game-phone-light",
    "memory-desktop-light",
    "memory-phone-dark",
    "privacy-phone-light",
    "usage-desktop-dark",
}


def say(page: Page, text: str) -> None:
    """Say it and wait for the whole answer."""
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")
    page.locator("li.theirs").last.locator(".where").wait_for()


def main(folder: Path) -> None:
    """Take them all."""
    path = find_chromium()
    assert path is not None, "no Chromium here: `apt-get install chromium` brings one"
    with tempfile.TemporaryDirectory() as home, open_house(Path(home)) as (gateway, _):
        key = gateway.make_key("page", tier="admin")
        lines = [
            "Reads by the window when it rains",
            "Her sister Mitali lives in Khulna",
            "Wants to walk more this winter",
        ]
        names = ("Asha", "Rahim", "Mitali", "Nila")
        for name in names:
            for text, kind in zip(lines, ("preference", "person", "goal"), strict=True):
                headers = {"authorization": f"Bearer {key}", "x-bondhu-user": name}
                httpx.post(f"{gateway.url}/api/v1/memories", headers=headers, json={"text": text, "kind": kind})
        with open_browser(path) as browser:
            screens = [(device, size, scheme) for device, size in SIZES for scheme in ("light", "dark")]
            for name, (device, size, scheme) in zip(names, screens, strict=True):
                page = browser.new_context(**screen(size, scheme)).new_page()
                shoot(page, gateway.url, key, name, folder / f"page-{{}}-{device}-{scheme}.png")


def shoot(page: Page, url: str, key: str, name: str, target: Path) -> None:
    """The pictures of one screen, in one visit."""

    def take(what: str) -> None:
        path = Path(str(target).format(what))
        if path.stem.removeprefix("page-") in CHOSEN:
            page.mouse.move(0, 0)
            page.wait_for_timeout(250)
            page.screenshot(path=path)

    page.goto(url)
    page.get_by_label("Key").wait_for()
    take("door")
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Come in").click()
    page.locator(".greeting").wait_for()
    take("hello")
    for text in ("Do you smell the rain?", "Make me a calm playlist", "Let's play tic-tac-toe"):
        say(page, text)
    page.locator("li.mine").nth(1).evaluate("each => each.scrollIntoView()")
    take("chat")
    page.get_by_role("button", name="Why did you say that?").first.click()
    page.locator(".why li").first.wait_for()
    page.locator(".scroll").evaluate("each => each.scrollTop = 0")
    take("why")
    page.locator(".scroll").evaluate("each => each.scrollTop = each.scrollHeight")
    take("game")
    for section in ("Memory", "Privacy", "Usage"):
        page.get_by_role("link", name=section).click()
        page.wait_for_load_state("networkidle")
        take(section.lower())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
