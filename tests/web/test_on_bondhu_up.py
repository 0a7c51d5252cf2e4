"""The page on a real `bondhu up` with the default model: by the link that it prints, through all that a person does.

With BONDHU_PICTURES=docs/images it takes the pictures of docs/page.md in which the words are the model's own.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.stack.test_default_model import BASE, COMPANION, on_vllm
from tests.support.browser import DESKTOP, find_chromium, open_browser, screen
from tests.support.local_stack import LocalStack
from tests.support.polling import eventually
from tests.web.house import Visit

LINK = re.compile(r"Meet your friend: (http\S+)")
PATIENT_MS = 120_000  # of a model on two cores that others use too
GROWING = """() => {
  window.seen = new Set();
  new MutationObserver(() => window.seen.add([...document.querySelectorAll("li.theirs .words")].at(-1)?.textContent))
    .observe(document.querySelector("ol.log"), { childList: true, subtree: true, characterData: true });
}"""


@pytest.fixture(scope="module", params=["llama_cpp", "vllm"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Return Bondhu as a user starts it."""
    if find_chromium() is None:
        pytest.skip("no Chromium here: `apt-get install chromium` brings one")
    with on_vllm(tmp_path_factory.mktemp("page"), BASE[request.param]) as stack:
        yield stack


@contextmanager
def open_page(url: str, folder: Path) -> Iterator[Visit]:
    """Return an empty page; nothing may be asked of others, nothing break."""
    path = find_chromium()
    assert path is not None
    with open_browser(path) as browser:
        page = browser.new_context(**screen(DESKTOP)).new_page()
        page.set_default_timeout(PATIENT_MS)
        visit = Visit(page)
        page.on("request", lambda request: visit.requests.append(request.url))
        page.on("pageerror", lambda error: visit.complaints.append(f"error: {error}"))
        page.on("console", lambda line: visit.complaints.append(line.text) if "Content Security" in line.text else None)
        try:
            yield visit
        except BaseException:
            page.screenshot(path=folder / "failed.png")
            raise
        assert not [each for each in visit.requests if not each.startswith((url, "blob:"))], "the page asked others"
        assert not visit.complaints


@pytest.mark.slow  # a stack of its own
@pytest.mark.timeout(1500)
def test_a_person_meets_the_friend_by_the_link_that_up_prints(stack: LocalStack, tmp_path: Path) -> None:
    """Signs in, chats, asks for music and rates it, asks why, edits and forgets a memory, sees usage."""
    eventually(lambda: LINK.search(stack.output.read_text()), PATIENT_MS / 1000, "the link to be printed")
    [address] = LINK.findall(stack.output.read_text())
    pictures = Path(os.environ.get("BONDHU_PICTURES", tmp_path))
    expect.set_options(timeout=PATIENT_MS)
    with open_page(stack.url, tmp_path) as here:
        page = here.page
        page.goto(address)
        page.get_by_label("Your name").fill("Asha")
        expect(page.get_by_label("Key", exact=True)).to_be_hidden()
        page.get_by_role("button", name="Come in").click()
        expect(page.locator("ol.log:not([aria-busy])")).to_be_attached()
        assert "once" not in page.url
        talk(here)
        take(page, pictures, "talk")
        listen(here)
        take(page, pictures, "music")
        ask_why(here)
        take(page, pictures, "reason")
        remember(page)
        take(page, pictures, "memories")
        see_usage(page)
        take(page, pictures, "used")
        again = page.context.new_page()
        again.goto(address)
        expect(again.get_by_text("This link was used before")).to_be_visible()


def talk(here: Visit) -> None:
    """With the friend, whose words come one by one and are the default model's."""
    page = here.page
    page.get_by_label("With").select_option("bondhu/auto")
    page.evaluate(GROWING)
    here.say("Hello! My cat is called Pixel and she loves the rain.")
    reply = page.locator("li.theirs").last
    expect(reply.locator(".about")).to_contain_text(COMPANION)
    expect(reply.locator(".where")).to_have_text("stayed in the house")
    seen = page.evaluate("[...window.seen].filter((each) => each)")
    assert len(seen) > 2, seen
    assert seen[-1].startswith(seen[0][:3]), "the words grew"
    page.get_by_label("With").select_option("bondhu")
    here.say("What is the capital of France?")
    expect(reply_of(page)).to_have_text(re.compile(r"\w{3}"))
    page.get_by_label("With").select_option("bondhu/auto")


def listen(here: Visit) -> None:
    """Songs with reasons; a thumb up is taken in; a playlist is made with a yes, once, and undone."""
    page = here.page
    here.say("Some calm music for the evening?")
    cards = page.locator("li.theirs").last.locator(".card")
    expect(cards.nth(1)).to_be_visible()
    expect(cards.first.locator(".reason")).not_to_be_empty()
    cards.first.get_by_role("button", name="Like").click()
    expect(reply_of(page)).to_contain_text("more like it")
    here.say("Make me a calm playlist")
    page.get_by_role("button", name="Yes, do it").click()
    expect(page.get_by_role("heading", name="Done.")).to_be_visible()
    here.say("yes")
    expect(reply_of(page)).to_contain_text("That is done already.")
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_role("heading", name="Undone.")).to_be_visible()


def ask_why(here: Visit) -> None:
    """What was recalled, and the words that it was found by."""
    page = here.page
    reply = page.locator("li.theirs").last
    for _ in range(5):  # a recall that takes too long on a busy machine is done without
        here.say("What is my cat called?")
        if "recalled" in reply.locator(".about").inner_text():
            break
    reply.get_by_role("button", name="Why did you say that?").click()
    expect(reply.locator(".why")).to_contain_text("Pixel")
    expect(reply.locator(".why")).to_contain_text("found by")


def remember(page: Page) -> None:
    """One memory is edited, another forgotten."""
    page.get_by_role("link", name="Memory").click()
    for text in ("Lives in Khulna", "Walks by the river on Sundays"):
        page.get_by_label("Something to remember").fill(text)
        page.get_by_role("button", name="Remember").click()
        expect(page.locator(".memories li").filter(has_text=text)).to_be_visible()
    page.locator(".memories li").filter(has_text="Khulna").get_by_role("button", name="Edit").click()
    page.get_by_label("The memory").fill("Lives in Dhaka")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".memories li").filter(has_text="Lives in Dhaka")).to_be_visible()
    page.locator(".memories li").filter(has_text="river").get_by_role("button", name="Forget").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator(".memories li").filter(has_text="river")).to_have_count(0)
    expect(page.locator(".memories li").filter(has_text="Lives in Dhaka")).to_be_visible()


def see_usage(page: Page) -> None:
    """By the model that answered."""
    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("row").filter(has_text=COMPANION).first).to_be_visible()


def reply_of(page: Page) -> Locator:
    """Return the words of the last reply."""
    return page.locator("li.theirs").last.locator(".words")


def take(page: Page, folder: Path, what: str) -> None:
    """Take a picture of what is seen."""
    page.mouse.move(0, 0)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=folder / f"page-real-{what}.png")
