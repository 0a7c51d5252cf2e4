"""The agent for music: without any account, with playlists, with a radio that is away."""

from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.base import AgentRequest, RunContext
from agents.events import Card, Event, Proposal, Token
from agents.music.agent import MusicAgent, MusicServices, route
from agents.music.catalogue import Track, normal, read_tracks
from agents.music.imports import BadLine, read_lines
from agents.music.listenbrainz import ListenBrainz
from agents.music.query import parse_query
from agents.music.radio import CachedRadio, Heard
from agents.music.vocabulary import vocabulary_of
from agents.outside.http import OutsideHttp, ServiceFailed
from agents.running import run_agent
from models.chat import ChatMessage
from storage.agents.states import SqlStates
from storage.media.imported_tracks import SqlTracks
from storage.media.playlists import SqlPlaylists
from storage.memory import erasure
from storage.memory.owner import Owner
from storage.services.answers import SqlAnswers
from tests.agents.run_context import NOW, MakeContext
from tests.support.servers.outside import OutsideServer

TRACKS = read_tracks()
NAMES = vocabulary_of(TRACKS)
MINA, RAFI = Owner("app", "mina"), Owner("app", "rafi")


async def say(agent: MusicAgent, context: RunContext, text: str, **more: Any) -> list[Event]:
    """All that the agent tells."""
    return [event async for event in run_agent(agent, AgentRequest([ChatMessage("user", text)], **more), context)]


def text_of(events: list[Event]) -> str:
    """Its words."""
    return "".join(event.text for event in events if isinstance(event, Token))


def cards_of(events: list[Event]) -> list[Card]:
    """Its cards."""
    return [event for event in events if isinstance(event, Card)]


def test_the_catalogue_is_large_and_of_many_countries() -> None:
    """No recording twice; Bengali and Hindi among them; years that can be."""
    assert len(TRACKS) >= 400
    assert len({track.id for track in TRACKS}) == len(TRACKS)
    assert len({track.country for track in TRACKS}) >= 40
    assert sum(track.language == "bn" for track in TRACKS) >= 20
    assert sum(track.language == "hi" for track in TRACKS) >= 40
    assert all(1920 <= track.year <= 2026 for track in TRACKS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("play something calm to study", "find_songs"),
        ("make me a playlist for running", "make_playlist"),
        ("update my playlist", "update_playlist"),
        ("show my playlists", "list_playlists"),
        ("like 2", "rate"),
        ("I don't like metal", "rate"),
        ("never 1 again", "rate"),
        ("I would like some jazz songs", "find_songs"),
        ("love songs please", "find_songs"),
        ("not this again", "rate"),
        ("thanks!", "answer"),
    ],
)
def test_words_mean_a_tool(text: str, expected: str) -> None:
    """By rules, without a model."""
    assert route(text) == expected


def test_words_say_what_is_wanted() -> None:
    """Mood, language, decade, artist, what it is for, how many; what is refused is not wanted."""
    query = parse_query("7 happy Bengali songs from the 90s for a run", NAMES)
    assert (query.moods, query.languages, query.decade, query.context, query.count) == (
        ["happy"],
        ["bn"],
        1990,
        "run",
        7,
    )
    assert parse_query("something by Nina Simone", NAMES).artists == ["Nina Simone"]
    assert parse_query("rock but not metal", NAMES).genres == ["rock"]


async def test_it_works_for_nobody_in_particular(make_context: MakeContext) -> None:
    """No account, no network, no model, no database: songs of the language and mood, each with why."""
    events = await say(MusicAgent(), make_context(owner=None, conversation=""), "calm Hindi songs")
    by_title = {track.title: track for track in TRACKS}
    cards = cards_of(events)
    assert len(cards) == 5
    assert all(by_title[card.title].language == "hi" for card in cards)
    assert all(card.data["why"] and card.data["url"] for card in cards)
    assert all(card.title in text_of(events) for card in cards)


@pytest.mark.parametrize("text", ["sad Hindi songs", "calm songs to sleep", "10 happy songs from the 70s"])
async def test_at_most_two_of_an_artist(make_context: MakeContext, text: str) -> None:
    """Unless somebody asks for theirs; what is all that was asked for comes first."""
    for seed in range(4):
        cards = cards_of(await say(MusicAgent(), make_context(seed=seed), text))
        artists = [card.data["subtitle"].rpartition(", ")[0] for card in cards]
        assert max(artists.count(artist) for artist in artists) <= 2
    cards = cards_of(await say(MusicAgent(), make_context(), "songs by Nina Simone"))
    assert {card.data["subtitle"].rpartition(", ")[0] for card in cards} == {"Nina Simone"}


async def test_it_learns_what_somebody_says_and_rates(states: SqlStates, make_context: MakeContext) -> None:
    """What they never want does not come again, of a song or an artist; what was shown is not shown soon again."""
    agent = MusicAgent()
    first = cards_of(await say(agent, make_context(state=states), "play some songs"))
    never = first[0].title
    assert never in text_of(await say(agent, make_context(state=states), "never 1 again"))
    await say(agent, make_context(state=states), "I hate Coldplay")
    for seed in range(6):
        shown = cards_of(await say(agent, make_context(state=states, seed=seed), "play some rock songs"))
        assert never not in [card.title for card in shown]
        assert not any(card.data["subtitle"].startswith("Coldplay") for card in shown)
    await say(agent, make_context(state=states), "I love jazz")
    jazz = {track.title for track in TRACKS if track.genre == "jazz"}
    found = [
        card.title in jazz
        for seed in range(8)
        for card in cards_of(await say(agent, make_context(state=states, seed=seed), "play something"))
    ]
    assert sum(found) / len(found) > 2 * len(jazz) / len(TRACKS)


async def test_a_playlist_is_made_changed_and_undone(
    engine: AsyncEngine, states: SqlStates, make_context: MakeContext
) -> None:
    """A dry run first; a yes makes it, once; the update is a difference; undo takes only that back."""
    context = make_context(state=states)
    playlists = SqlPlaylists(engine, context.now)
    agent = MusicAgent(MusicServices(playlists))
    events = await say(agent, context, "make me a playlist for running")
    proposal = next(event for event in events if isinstance(event, Proposal))
    assert proposal.state == "pending"
    [card] = cards_of(events)
    assert all(item["why"] for item in card.data["items"])
    assert await playlists.all_of(MINA) == []
    await say(agent, context, "", confirm=proposal.id)
    await say(agent, context, "", confirm=proposal.id)
    [made] = await playlists.all_of(MINA)
    assert len(made.items) == 12
    assert "Run" in text_of(await say(agent, context, "show my playlists"))
    events = await say(agent, context, "update my playlist")
    update = next(event for event in events if isinstance(event, Proposal))
    assert all(item["why"] for item in cards_of(events)[0].data["add"])
    await say(agent, context, "yes")
    [changed] = await playlists.all_of(MINA)
    before, after = ({item["id"] for item in each.items} for each in (made, changed))
    assert len(before & after) == 8
    assert len(after - before) == 4
    await say(agent, context, "", undo=update.id)
    [undone] = await playlists.all_of(MINA)
    assert {item["id"] for item in undone.items} == before
    await say(agent, context, "", undo=proposal.id)
    assert await playlists.all_of(MINA) == []


async def test_playlists_are_their_owners(engine: AsyncEngine, states: SqlStates, make_context: MakeContext) -> None:
    """Another sees none and changes none; erased with the person."""
    context = make_context(state=states)
    playlists = SqlPlaylists(engine, context.now)
    await playlists.create(MINA, key="k", name="Mine", items=[{"id": "a"}], wanted={})
    agent = MusicAgent(MusicServices(playlists))
    assert "Mine" not in text_of(await say(agent, make_context(state=states, owner=RAFI), "show my playlists"))
    assert await playlists.all_of(RAFI) == []
    await erasure.erase(engine, MINA)
    assert await playlists.all_of(MINA) == []
    assert (await erasure.count(engine, MINA))["playlist_changes"] == 0


async def test_a_radio_that_is_away_is_not_missed(engine: AsyncEngine, make_context: MakeContext) -> None:
    """The answer comes from the catalogue; and from both when it is there, with names fenced as data."""
    async with OutsideServer() as server, aiohttp.ClientSession() as session:
        radio = ListenBrainz(OutsideHttp(session, server.url, timeout_s=1))
        agent = MusicAgent(
            MusicServices(radio=CachedRadio(radio.by_tags, SqlAnswers(engine, lambda: NOW), lambda: NOW))
        )
        server.faults = [500]
        context = make_context()
        assert len(cards_of(await say(agent, context, "calm jazz songs"))) == 5
        assert not context.has_outside_text
        mbid = "2007b5be-2a0f-47fc-8f9b-2965d0156bbb"
        server.bodies["/1/lb-radio/tags"] = [{"recording_mbid": mbid}]
        server.bodies["/1/metadata/recording/"] = {mbid: {"artist": {"name": "New"}, "recording": {"name": "One"}}}
        tagged = "ambient songs"
        seen = [
            context for context in [make_context(seed=seed) for seed in range(4)] if await say(agent, context, tagged)
        ]
        assert any(context.has_outside_text for context in seen)


async def test_a_radio_is_asked_once_a_day_and_what_is_older_is_marked(engine: AsyncEngine) -> None:
    """What was told within a day is used without asking; later it is asked, and while it is away, marked as stale."""
    now, mbid = NOW, "2007b5be-2a0f-47fc-8f9b-2965d0156bbb"
    async with OutsideServer() as server, aiohttp.ClientSession() as session:
        server.bodies["/1/lb-radio/tags"] = [{"recording_mbid": mbid}]
        server.bodies["/1/metadata/recording/"] = {mbid: {"artist": {"name": "New"}, "recording": {"name": "One"}}}
        answers = SqlAnswers(engine, lambda: now)
        radio = CachedRadio(ListenBrainz(OutsideHttp(session, server.url, timeout_s=1)).by_tags, answers, lambda: now)
        assert await radio.fresh(["calm", "jazz"]) is None
        answer = await radio.ask(["calm", "jazz"])
        assert ([track.title for track in answer.tracks], answer.is_stale) == (["One"], False)
        assert await radio.fresh(["jazz", "calm"]) == answer
        now += timedelta(hours=25)
        assert await radio.fresh(["jazz", "calm"]) is None
        server.faults = [500]
        assert await radio.ask(["jazz", "calm"]) == Heard(answer.tracks, is_stale=True)
        now += timedelta(days=30)
        server.faults = [500]
        with pytest.raises(ServiceFailed):
            await radio.ask(["jazz", "calm"])


async def test_imported_recordings_are_chosen_too(engine: AsyncEngine, make_context: MakeContext) -> None:
    """JSON lines, as catalogues and ListenBrainz name the fields; a bad line is told with its number."""
    lines = [
        b'{"artist": "A", "title": "T", "genre": "polka", "language": "pl", "year": 2001}',
        b'{"artist_name": "B", "track_name": "U", "unknown": 1}',
        b"",
        b"no json",
        b'{"artist": ""}',
        b"[1]",
    ]
    read = list(read_lines(lines))
    assert [each.number for each in read if isinstance(each, BadLine)] == [4, 5, 6]
    tracks = [each for each in read if isinstance(each, Track)]
    store = SqlTracks(engine)
    for _ in range(2):
        await store.save({track.id: track.model_dump() for track in tracks})
    assert await store.count() == 2
    assert [each["title"] for each in await store.find(genres=["polka"])] == ["T"]
    assert len(cards_of(await say(MusicAgent(MusicServices(imported=store)), make_context(), "play something"))) == 5


async def test_an_imported_isrc_goes_into_a_playlist(
    engine: AsyncEngine, states: SqlStates, make_context: MakeContext
) -> None:
    """However it is written; the bundled catalogue has none; one that is none is told with its line."""
    lines = [
        b'{"artist": "A", "title": "T", "genre": "jazz", "language": "bn", "isrcs": ["us-rc1-76-07839"]}',
        b'{"artist": "B", "title": "U", "isrc": "x"}',
    ]
    track, bad = read_lines(lines)
    assert isinstance(track, Track)
    assert isinstance(bad, BadLine)
    assert (track.isrc, bad.number) == ("USRC17607839", 2)
    assert not any(each.isrc for each in TRACKS)
    store = SqlTracks(engine)
    await store.save({track.id: track.model_dump()})
    agent = MusicAgent(MusicServices(playlists=SqlPlaylists(engine, lambda: NOW), imported=store))
    (card,) = cards_of(await say(agent, make_context(state=states), "make me a Bengali jazz playlist"))
    assert [item["isrc"] for item in card.data["items"] if item["title"] == "T"] == ["USRC17607839"]


def test_two_spellings_are_one() -> None:
    """Accents, capitals and marks."""
    assert normal("Édith PIAF") == normal("edith piaf")
    assert Track(artist="Sigur Rós", title="Hoppípolla!", year=2005).id == "sigur-ros/hoppipolla"


async def test_a_genre_that_only_an_import_knows_is_understood(engine: AsyncEngine, make_context: MakeContext) -> None:
    """Within a minute of the import; in its own spelling, and only there."""
    store = SqlTracks(engine)
    agent = MusicAgent(MusicServices(imported=store))
    assert not await agent.is_named("Could you find me some polka?", make_context())
    track = Track(artist="Frankie", title="Who Stole the Kishka", year=1963, genre="Polka", language="pl")
    await store.save({track.id: track.model_dump()})
    later = make_context(now=lambda: NOW + timedelta(minutes=1))
    assert await agent.is_named("Could you find me some polka?", later)
    [card] = cards_of(await say(agent, later, "Could you find me some polka?"))
    assert card.title == track.title
    assert not await MusicAgent().is_named("Could you find me some polka?", later)


@pytest.mark.parametrize(
    "text",
    [
        "Could you find me some reggae?",
        "put some jazz on while I cook",
        "Put on a bit of Nina Simone",
        "play bossa nova tonight",
        "let me hear some blues",
        "I want Nina Simone, please",
    ],
)
def test_what_is_asked_for_by_its_name_is_music(text: str) -> None:
    """A genre or an artist, at the end of the request or before what it is for."""
    assert NAMES.is_wanted(text)


@pytest.mark.parametrize(
    "text",
    [
        "give me some country advice",
        "find me a soul mate",
        "I saw Nina Simone once",
        "I want my son back",
        "play with the dog",
        "show me some film",
        "I hit rock bottom",
    ],
)
def test_a_name_within_other_words_is_no_request(text: str) -> None:
    """Nor a genre whose word means something else."""
    assert not NAMES.is_wanted(text)
