"""The page in a real browser, on a real gateway: what a person sees and does, and what never happens."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.browser import DESKTOP, PHONE
from tests.web.house import House, Visit

Visits = Callable[..., Visit]
SMALL = {"width": 320, "height": 640}  # WCAG 2.2's reflow


def test_a_wrong_key_is_reported_and_a_right_one_is_kept_in_the_tab_only(house: House, visit: Visits) -> None:
    """In sessionStorage: not in a cookie, not in localStorage; leaving takes it away."""
    here = visit()
    page = here.page
    page.goto(house.gateway.url)
    page.get_by_label("Your name").fill("Asha")
    page.get_by_label("Key").fill("bd-wrong")
    page.get_by_role("button", name="Come in").click()
    expect(page.get_by_text("This key is not valid.")).to_be_visible()
    here.come_in(house, "Asha")
    assert page.evaluate("sessionStorage['bondhu.key']") == house.key
    assert house.key not in json.dumps(page.context.storage_state())
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_label("Key")).to_have_value("")
    assert page.evaluate("sessionStorage.length") == 0


def test_a_key_in_the_address_is_taken_out_of_it(house: House, visit: Visits) -> None:
    """Nothing of it is in the address bar, on the page or one step back."""
    page = visit().page
    page.goto(f"{house.gateway.url}/#key={house.key}")
    expect(page.get_by_label("Your name")).to_be_visible()
    expect(page.get_by_label("Key", exact=True)).to_be_hidden()
    assert house.key not in page.url
    page.get_by_label("Your name").fill("Asha")
    page.get_by_role("button", name="Come in").click()
    expect(page.get_by_label("Your message")).to_be_visible()
    page.go_back()
    assert house.key not in page.url
    assert house.key not in page.content()


def test_an_answer_is_shown_while_it_comes_and_can_be_stopped(house: House, visit: Visits) -> None:
    """Two words are there while the engine holds the third; stopped, the engine is let go."""
    here = visit().come_in(house, "Streams")
    reply = here.page.locator("li.theirs").last
    aborted = house.friend.aborted
    house.friend.allow(2)
    try:
        here.page.get_by_label("Your message").fill("stream, please")
        here.page.get_by_role("button", name="Send").click()
        expect(reply.locator(".words")).to_have_text("w0 w1")
        expect(reply).to_have_attribute("aria-busy", "true")
        here.page.get_by_role("button", name="Stop").click()
        expect(reply).to_contain_text("You stopped the answer here.")
    finally:
        house.friend.allow(None)
    here.say("and now the whole")
    expect(here.page.locator("li.theirs").last.locator(".words")).to_have_text("w0 w1 w2")
    assert house.friend.aborted > aborted


def test_a_reply_says_who_gave_it_where_and_why(house: House, visit: Visits) -> None:
    """The model's id, that nothing left, and the memory with the words that it was found by."""
    name = "Rahim"
    headers = {"authorization": f"Bearer {house.key}", "x-bondhu-user": name}
    body = {"text": "Reads by the window when it rains", "kind": "preference"}
    httpx.post(f"{house.gateway.url}/api/v1/memories", headers=headers, json=body).raise_for_status()
    here = visit().come_in(house, name)
    here.say("What do I do when it rains?")
    reply = here.page.locator("li.theirs").last
    expect(reply.locator("strong")).to_have_text("does")
    expect(reply.locator(".about")).to_contain_text("bondhu-demo")
    expect(reply.locator(".where")).to_have_text("stayed in the house")
    reply.get_by_role("button", name="Why did you say that?").click()
    expect(reply.locator(".why")).to_contain_text("Reads by the window when it rains")
    expect(reply.locator(".why")).to_contain_text("found by")
    here.page.reload()
    expect(here.page.locator("li.mine")).to_have_text("You: What do I do when it rains?")
    here.page.get_by_role("button", name="Why did you say that?").click()
    expect(here.page.locator(".why")).to_contain_text("Reads by the window when it rains")


def test_hostile_words_stay_words(house: House, visit: Visits) -> None:
    """No element but those of the small part of Markdown, no picture, no script, no link that runs something."""
    here = visit().come_in(house, "Hostile")
    here.say("something hostile")
    words = here.page.locator("li.theirs").last.locator(".words")
    expect(words).to_contain_text("<img src=https://tracker.example/p.png onerror=alert(1)>")
    expect(words).to_contain_text("[press me](javascript:alert(3))")
    tags = words.evaluate("each => [...each.querySelectorAll('*')].map((one) => one.localName)")
    assert set(tags) <= {"p", "strong", "code", "a"}
    addresses = words.evaluate("each => [...each.querySelectorAll('a')].map((one) => one.href)")
    assert all(each.startswith("https://") for each in addresses)


def test_a_card_draws_its_game_and_its_buttons_speak(house: House, visit: Visits) -> None:
    """A free field of the board says its number; then the buttons of the past are over."""
    here = visit().come_in(house, "Plays আশা")
    here.say("let's play")
    board = here.page.get_by_role("group", name="Board")
    expect(board.get_by_role("button", name="field 1: X")).to_be_disabled()
    board.get_by_role("button", name="field 9").click()
    expect(here.page.locator("li.mine").last).to_have_text("You: 9")
    expect(board.get_by_role("button", name="field 9")).to_be_disabled()


def test_lists_say_why_and_proposals_wait_for_a_yes(house: House, visit: Visits) -> None:
    """Songs and videos with reasons, links that carry nothing along, a yes that the person says; unknown cards too."""
    here = visit().come_in(house, "Listens")
    here.say("Something to watch?")
    expect(here.page.get_by_text("you asked about rivers on Monday")).to_be_visible()
    here.say("a strange card")
    expect(here.page.locator(".card dd")).to_have_text("clear")
    here.say("Music for the evening?")
    expect(here.page.get_by_text("you love Tagore when it rains")).to_be_visible()
    expect(here.page.get_by_role("link", name="Gymnopédie")).to_have_attribute("rel", "noopener noreferrer")
    here.page.get_by_role("button", name="Yes, do it").click()
    expect(here.page.locator("li.mine").last).to_have_text("You: yes")


def test_memories_are_seen_changed_forgotten_and_taken_along(house: House, visit: Visits, tmp_path: Path) -> None:
    """Each change is what the API then has."""
    here = visit().come_in(house, "Mitali")
    page = here.page
    page.get_by_role("link", name="Memory").click()
    page.get_by_label("Something to remember").fill("Lives in Khulna")
    page.get_by_role("button", name="Remember").click()
    row = page.locator(".memories li").first
    expect(row).to_contain_text("Lives in Khulna")
    row.get_by_role("button", name="Edit").click()
    page.get_by_label("The memory").fill("Lives in Dhaka")
    page.get_by_role("button", name="Save").click()
    row.get_by_role("button", name="Pin", exact=True).click()
    expect(row).to_contain_text("pinned")
    headers = {"authorization": f"Bearer {house.key}", "x-bondhu-user": "Mitali"}
    kept = httpx.get(f"{house.gateway.url}/api/v1/memories", headers=headers).json()["data"]
    assert [(each["text"], each["pinned"]) for each in kept] == [("Lives in Dhaka", True)]
    page.get_by_label("Search your memories").fill("nothing like it")
    expect(page.get_by_text("Nothing found.")).to_be_visible()
    page.get_by_label("Search your memories").fill("dhaka")
    expect(row).to_contain_text("Lives in Dhaka")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download everything").click()
    download.value.save_as(tmp_path / "export.json")
    assert json.loads((tmp_path / "export.json").read_text())["memories"][0]["text"] == "Lives in Dhaka"
    row.get_by_role("button", name="Forget").click()
    page.get_by_role("button", name="No, keep it").click()
    expect(row).to_contain_text("Lives in Dhaka")
    row.get_by_role("button", name="Forget").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator(".memories li[data-id]")).to_have_count(0)
    assert httpx.get(f"{house.gateway.url}/api/v1/memories", headers=headers).json()["data"] == []


def test_a_summary_shows_the_messages_that_it_was_made_from(house: House, visit: Visits) -> None:
    """Theirs alone, on a button; it is forgotten like any memory."""
    page = visit().come_in(house, "Shirin").page
    headers = {"authorization": f"Bearer {house.key}", "x-bondhu-user": "Shirin"}
    turns = [
        {"id": f"t{n}", "external_id": f"t{n}", "speaker": "user", "text": text, "said_at": "2026-01-01T12:00:00Z"}
        for n, text in enumerate(("My cat is called Pixel.", "She is grey."))
    ]
    summary = {"id": "s", "kind": "summary", "text": "They have a grey cat.", "created_at": "2026-01-02T12:00:00Z"}
    document = {
        "conversations": [{"external_id": "c", "messages": turns}],
        "memories": [{**summary, "sources": ["t0", "t1"]}],
    }
    url = f"{house.gateway.url}/api/v1/import"
    httpx.post(url, headers=headers, json=document).raise_for_status()
    page.get_by_role("link", name="Memory").click()
    row = page.locator(".memories li").first
    expect(row).to_contain_text("They have a grey cat.")
    expect(row.locator(".tag").first).to_have_text("summary")
    row.get_by_role("button", name="From 2 messages").click()
    expect(row.get_by_role("group")).to_contain_text("My cat is called Pixel.")
    row.get_by_role("button", name="From 2 messages").click()
    expect(row.get_by_role("group")).to_have_count(0)


def test_what_a_wish_took_away_can_be_put_back(house: House, visit: Visits) -> None:
    """Beside the reply, or later among the memories."""
    here = visit().come_in(house, "Nila")
    page = here.page
    for city in ("Porto", "Lagos"):
        here.say(f"I live in {city}")
        here.say(f"Forget that I live in {city}")
        expect(page.locator("li.theirs").last).to_contain_text("forgot 1")
    page.get_by_role("button", name="Undo").last.click()
    expect(page.locator("li.theirs").last).to_contain_text("and put back")
    page.get_by_role("link", name="Memory").click()
    page.get_by_role("button", name="Put back").click()
    expect(page.get_by_text("Put back.", exact=True).first).to_be_visible()
    headers = {"authorization": f"Bearer {house.key}", "x-bondhu-user": "Nila"}
    kept = httpx.get(f"{house.gateway.url}/api/v1/export", headers=headers).text
    assert "I live in Porto" in kept
    assert "I live in Lagos" in kept


def test_everything_is_forgotten_after_a_question(house: House, visit: Visits) -> None:
    """And the page says what a second look found."""
    here = visit().come_in(house, "Bela")
    here.say("I had a long day")
    here.page.get_by_role("link", name="Memory").click()
    here.page.get_by_role("button", name="Forget everything about me").click()
    here.page.get_by_role("button", name="Forget everything", exact=True).click()
    expect(here.page.get_by_text("Everything about you was deleted")).to_be_visible()
    headers = {"authorization": f"Bearer {house.key}", "x-bondhu-user": "Bela"}
    assert httpx.get(f"{house.gateway.url}/api/v1/export", headers=headers).json()["conversations"] == []


def test_consent_is_given_and_taken_back(house: House, visit: Visits) -> None:
    """The page says what holds: this key's application does not allow it, so nothing leaves even then."""
    here = visit().come_in(house, "Tariq/Dhaka")
    page = here.page
    page.get_by_role("link", name="Privacy").click()
    expect(page.get_by_text("You have not chosen yet")).to_be_visible()
    expect(page.get_by_role("switch", name="Also send private content")).to_be_disabled()
    page.get_by_role("switch", name="Allow external models").check()
    expect(page.get_by_text("The key that you signed in with does not allow it.")).to_be_visible()
    page.get_by_role("switch", name="Also send private content").check()
    expect(page.get_by_text("You chose this on")).to_be_visible()
    url = f"{house.gateway.url}/api/v1/users/Tariq%2FDhaka/consent"
    headers = {"authorization": f"Bearer {house.key}"}
    page.get_by_role("link", name="Usage").click()
    page.get_by_role("link", name="Privacy").click()
    expect(page.get_by_role("switch", name="Also send private content")).to_be_checked()
    assert httpx.get(url, headers=headers).json()["allow_sensitive"] is True
    page.get_by_role("button", name="Withdraw my answer").click()
    expect(page.get_by_text("You have not chosen yet")).to_be_visible()
    assert httpx.get(url, headers=headers).json()["asked"] is False


def test_usage_is_shown_by_day_and_model(house: House, visit: Visits) -> None:
    """Only this person's."""
    here = visit().come_in(house, "Counted")
    here.say("one")
    here.page.get_by_role("link", name="Usage").click()
    row = here.page.get_by_role("row").filter(has_text="bondhu-demo")
    expect(row.locator("td").first).to_have_text("1")


def test_the_keyboard_is_enough(house: House, visit: Visits) -> None:
    """In, a message, another place, and back, without a mouse; focus follows."""
    page = visit().page
    page.goto(house.gateway.url)
    page.keyboard.type("Keys")
    page.keyboard.press("Tab")
    page.keyboard.type(house.key)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(page.locator("li.mine")).to_have_text("You: one\ntwo")
    expect(page.locator("#status")).to_have_text("Bondhu: w0 w1 w2")
    page.get_by_role("link", name="Memory").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.get_by_role("heading", name="What I remember")).to_be_visible()


@pytest.mark.parametrize("size", [SMALL, PHONE, DESKTOP], ids=["small", "phone", "desktop"])
def test_nothing_is_wider_than_the_screen(house: House, visit: Visits, size: dict[str, int]) -> None:
    """In every place, with cards and long words."""
    here = visit(size)
    here.come_in(house, f"Wide {size['width']}")
    here.say("Music for the evening?")
    here.say("x" * 400)
    for section in ("Memory", "Privacy", "Usage", "Chat"):
        here.page.get_by_role("link", name=section).click()
        expect(here.page.locator(f".place.{section.lower()}")).to_be_visible()
        here.page.wait_for_load_state("networkidle")
        wide = here.page.evaluate("[document.documentElement, main].map((each) => each.scrollWidth - each.clientWidth)")
        assert wide == [0, 0], section


def test_a_playlist_is_made_and_undone_by_buttons(house: House, visit: Visits) -> None:
    """With whoever answers anything: what a button says reaches the agent that showed it, and focus goes to the box."""
    here = visit().come_in(house, "Makes")
    page = here.page
    page.get_by_label("With").select_option("bondhu/auto")
    here.say("Play some jazz songs")
    page.get_by_role("button", name="Like").first.press("Enter")
    expect(page.locator("li.theirs").last).to_contain_text("more like it")
    expect(page.get_by_label("Your message")).to_be_focused()
    here.say("Make me a calm playlist")
    page.get_by_role("button", name="Yes, do it").click()
    expect(page.get_by_role("heading", name="Done.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="Undone.")).to_be_visible()


def test_the_chat_is_as_it_was_after_a_look_elsewhere(house: House, visit: Visits) -> None:
    """Its cards have their buttons, and an answer that was on its way has come."""
    here = visit().come_in(house, "Looks")
    page = here.page
    here.say("Music for the evening?")
    page.get_by_role("link", name="Memory").click()
    page.get_by_role("link", name="Chat").click()
    expect(page.get_by_role("button", name="Yes, do it")).to_be_enabled()
    house.friend.allow(1)
    page.get_by_label("Your message").fill("stream, please")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("li.theirs").last.locator(".words")).to_have_text("w0")
    page.get_by_role("link", name="You").click()
    house.friend.allow(None)
    expect(page.locator("#status")).to_have_text("Bondhu: w0 w1 w2")
    page.get_by_role("link", name="Chat").click()
    expect(page.locator("li.theirs").last.locator(".words")).to_have_text("w0 w1 w2")


def test_who_said_what_is_told_to_who_cannot_see_it(house: House, visit: Visits) -> None:
    """Of what comes now and of an earlier visit."""
    here = visit().come_in(house, "Hears")
    here.say("one")
    said = here.page.locator("ol.log > li")
    for _ in range(2):
        expect(said).to_have_count(2)
        expect(said.first).to_have_text("You: one")
        expect(said.last).to_have_text(re.compile(r"^Bondhu:\s+w0 w1 w2"))
        here.page.reload()
