"""axe-core finds nothing serious in any place of the page, on a phone and a desk, in light and in dark."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.browser import DESKTOP, PHONE
from tests.web.house import House, Visit

PLACES = ("Memory", "Privacy", "You", "Usage", "Chat")


def serious(page: Page) -> list[str]:
    """What axe finds that is serious or worse, each with where it is."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_serious(
    house: House, visit: Callable[..., Visit], size: dict[str, int], scheme: str
) -> None:
    """At the door, in every place, beside cards and open explanations, and in a question."""
    here = visit(size, scheme, reduced_motion="reduce")
    page = here.page
    page.goto(house.gateway.url)
    expect(page.get_by_label("Key")).to_be_visible()
    assert serious(page) == []
    here.come_in(house, f"Axe {scheme} {size['width']}")
    assert serious(page) == []
    for text in ("It smells of rain", "Let's play", "Music for the evening?", "I had a long day", "Forget that"):
        here.say(text)
    page.get_by_role("button", name="Why did you say that?").first.click()
    expect(page.locator(".why blockquote, .why p").first).to_be_visible()
    for section in PLACES:
        page.get_by_role("link", name=section, exact=True).click()
        page.wait_for_load_state("networkidle")
        if section == "You":
            expect(page.get_by_role("heading", name="How you are")).to_be_visible()
            page.get_by_text("Answer the phrases").click()
        assert serious(page) == [], section
        if section == "Memory":
            page.get_by_label("Something to remember").fill("Loves tea")
            page.get_by_role("button", name="Remember").click()
            expect(page.locator(".memories li[data-id]")).to_have_count(1)
            assert serious(page) == []
            page.get_by_role("button", name="Forget: Loves tea").click()
            assert serious(page) == [], "the question"
            page.get_by_role("button", name="No, keep it").click()


def test_axe_would_find_something(house: House, visit: Callable[..., Visit]) -> None:
    """The page's policy does not keep axe from looking: a field without its label is found."""
    page = visit().come_in(house, "Axe").page
    page.evaluate("document.querySelector('label[for=model]').remove()")
    assert any(each.startswith("select-name") for each in serious(page))
