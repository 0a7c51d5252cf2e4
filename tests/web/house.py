"""The house that the page's tests and pictures visit: a real gateway, and what the friend there says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.gateway_process import GatewayProcess, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.friend import FriendServer

BOARD = {
    "type": "card",
    "kind": "game",
    "title": "Tic-tac-toe",
    "data": {"game": "tictactoe", "board": ["X", " ", " ", " ", "O", " ", " ", " ", " "]},
    "actions": [*({"label": str(n), "says": str(n)} for n in (2, 3, 4, 6, 7, 8, 9)), {"label": "Stop", "says": "stop"}],
}
PLAYLIST = {
    "type": "card",
    "kind": "playlist",
    "title": "A quiet evening",
    "data": {
        "items": [
            {
                "title": "Ami Chini Go Chini",
                "artist": "Rabindranath Tagore, sung by Suchitra Mitra",
                "length_s": 201,
                "why": "you love Tagore when it rains",
            },
            {
                "title": "Gymnopédie No. 1",
                "artist": "Erik Satie",
                "year": 1888,
                "length_s": 189,
                "url": "https://musicbrainz.org/work/f2c1d8f0",
                "why": "slow, and without words, as you asked",
            },
            {
                "title": "River Man",
                "artist": "Nick Drake",
                "year": 1969,
                "length_s": 261,
                "why": "near to what you kept",
            },
        ]
    },
    "actions": [{"label": "More like this", "says": "more like this"}, {"label": "Calmer", "says": "calmer please"}],
}
VIDEOS = {
    "type": "card",
    "kind": "video",
    "title": "For half an hour",
    "data": {
        "items": [
            {
                "title": "How rivers find their way",
                "channel": "A geographer",
                "duration_s": 1082,
                "url": "https://www.youtube.com/watch?v=none",
                "why": "you asked about rivers on Monday",
                "actions": [{"label": "Not this again", "says": "not this again"}],
            }
        ]
    },
}
PROPOSAL = {
    "type": "proposal",
    "id": "p1",
    "effect": "create_playlist",
    "summary": "Create the playlist “A quiet evening” with 3 songs on Spotify.",
    "state": "pending",
    "can_undo": False,
}
HOSTILE = (
    "<img src=https://tracker.example/p.png onerror=alert(1)> <script>alert(2)</script> "
    "[press me](javascript:alert(3)) ![seen](https://tracker.example/seen.png) **bold** `code` "
    "[good](https://example.org/a)"
)
SCRIPT = {
    "rain": (
        "It **does** smell of rain, doesn't it? You told me that you like to read by the window when it pours.",
        [],
    ),
    "long day": (
        "That sounds tiring. Two things that helped you before:\n\n- a walk by the river\n- tea, and *no* telephone\n\n"
        "Shall I put on something quiet?",
        [],
    ),
    "play": ("Gladly. You are X; it is your move.", [BOARD]),
    "evening": ("Three for a quiet evening, and why each is among them:", [PLAYLIST, PROPOSAL]),
    "watch": ("One that fits your half hour.", [VIDEOS]),
    "hostile": (HOSTILE, []),
    "a strange card": ("Here.", [{"type": "card", "kind": "weather", "title": "Weather", "data": {"sky": "clear"}}]),
}


expect.set_options(timeout=20_000)


@dataclass
class House:
    """The gateway, its engine, and keys that were made before the browser began (its driver has the event loop)."""

    gateway: GatewayProcess
    friend: FriendServer
    key: str


@dataclass
class Visit:
    """A page, and what happened on it that nobody sees."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def come_in(self, house: House, name: str) -> "Visit":
        """Sign in by the form."""
        self.page.goto(house.gateway.url)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Key").fill(house.key)
        self.page.get_by_role("button", name="Come in").click()
        expect(self.page.locator("ol.log:not([aria-busy])")).to_be_attached()
        return self

    def say(self, text: str) -> None:
        """Say it and wait for the whole answer, its origin included."""
        count = self.page.locator("li.theirs").count()
        self.page.get_by_label("Your message").fill(text)
        self.page.keyboard.press("Enter")
        expect(self.page.locator("li.theirs")).to_have_count(count + 1)
        expect(self.page.locator("li.theirs").last.locator(".where")).to_be_visible()


@contextmanager
def open_house(folder: Path) -> Iterator[tuple[GatewayProcess, FriendServer]]:
    """A gateway that can answer, with memory."""
    process = GatewayProcess(folder, BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS))
    with FriendServer(process.ingress_port, SCRIPT) as friend, process:
        wait_for(lambda: process.get("/ready").status_code == 200, "the gateway to be ready")
        yield process, friend
