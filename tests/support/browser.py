"""A real Chromium, without a window, on this machine: Debian's, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 860}
# No sandbox: tests run as root in containers, and open nothing but the gateway that they started.
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]


def find_chromium() -> str | None:
    """The path of a Chromium; None: there is none."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


@contextmanager
def open_browser(path: str) -> Iterator[Browser]:
    """Return the browser; it ends with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def screen(size: dict[str, int], scheme: str = "light", **options: Any) -> dict[str, Any]:
    """Options of a browser context for a screen of this size."""
    return {"viewport": size, "color_scheme": scheme, "locale": "en-GB", "timezone_id": "UTC", **options}
