"""What `bondhu doctor services` finds, against a local server."""

from dataclasses import replace

import aiohttp

from agents.outside.checks import check_services
from agents.outside.options import ServiceOptions
from tests.support.servers.outside import SLOW, OutsideServer


async def test_each_state_of_a_service_is_reported() -> None:
    """Nothing is called that is off."""
    async with OutsideServer() as server, aiohttp.ClientSession() as session:
        addresses = dict.fromkeys(
            (
                "feeds_url",
                "youtube_url",
                "listenbrainz_url",
                "musicbrainz_url",
                "lastfm_url",
                "spotify_url",
                "spotify_accounts_url",
            ),
            server.url,
        )
        off = ServiceOptions(**addresses, timeout_s=0.5)  # type: ignore[arg-type]
        found = await check_services(off, session)
        assert {each.state for each in found} == {"off"}
        assert server.requests == []
        on = replace(
            off,
            feeds=True,
            radio=True,
            musicbrainz=True,
            history=True,
            youtube_key="k",
            lastfm_key="k",
            spotify_client_id="c",
        )
        server.bodies |= {"/feeds/videos.xml": b"<feed/>", "/1/lb-radio/tags": [], "/ws/2/recording": {}, "/2.0/": {}}
        server.faults = [None, 403, None, 503, SLOW]
        states = {each.name: (each.state, each.says) for each in await check_services(on, session)}
        assert states["youtube feeds"] == ("ok", "answers")
        assert states["youtube search"][0] == "refused"
        assert states["listenbrainz radio"][0] == "ok"
        assert states["musicbrainz"][0] == "unreachable"
        assert states["lastfm history"][0] == "ok"
        assert states["listenbrainz history"][0] == "unreachable"
        assert states["spotify"][0] == "missing"
        assert "BONDHU_TOKENS_KEY" in states["spotify"][1]
        server.faults = [None, None, None, None, None, None, 401]
        keyed = replace(on, tokens_key="k" * 32)
        assert next(each for each in await check_services(keyed, session) if each.name == "spotify").state == "ok"
