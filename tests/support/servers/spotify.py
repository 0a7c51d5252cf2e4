"""Spotify as a test wants it: tokens with PKCE, playlists in pages of ten, and its faults.

async with SpotifyServer() as server:
    server.faults["POST /me/playlists"] = [After(502)]  # done, and the answer says it was not
"""

import asyncio
import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from tests.support.servers.local import LocalServer
from tests.support.servers.outside import CUT, JUNK, SLOW

PAGE = 10


@dataclass(frozen=True)
class After:
    """The request is done, and answered by this status."""

    status: int


@dataclass(frozen=True)
class Refused:
    """Not done; answered by this status, with these headers and this reason."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    reason: str = ""


class SpotifyServer(LocalServer):
    """The server; a context manager.

    Attributes:
        faults: of the next requests, by method and the beginning of the path.
        users: accounts that may use the application, by access token.
        tracks: what there is: URI, ISRC, title, artist.
        playlists: by id.
        refreshed: how often tokens were renewed.
        refresh_token: what a renewal answers; None: no such field.
        grants: whether a refresh token is known.

    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, list[Any]] = {}
        self.tracks: list[tuple[str, str, str, str]] = []
        self.playlists: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.refreshed = 0
        self.refresh_token: str | None = None
        self.refresh_s = 0.0
        self.grants = True
        self.is_listed = True
        self.valid: set[str] = set()
        self._codes: dict[str, str] = {}

    def add_routes(self, app: web.Application) -> None:
        """See `LocalServer`."""
        app.router.add_route("*", "/{path:.*}", self._answer)

    def consent(self, url: str) -> tuple[str, str]:
        """The state and code with which Spotify redirects after a person's consent at this address."""
        params = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert params["response_type"] == "code"
        assert params["code_challenge_method"] == "S256"
        code = f"code{len(self._codes)}"
        self._codes[code] = params["code_challenge"]
        return params["state"], code

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = f"{request.method} {request.path}"
        self.requests.append(call)
        fault = next(
            (faults.pop(0) for start, faults in self.faults.items() if call.startswith(start) and faults), None
        )
        if isinstance(fault, Refused):
            error = {"error": {"status": fault.status, "message": "no", "reason": fault.reason}}
            return web.json_response(error, status=fault.status, headers=fault.headers)
        response = await self._do(request)
        if isinstance(fault, After):
            return web.json_response({"error": {"status": fault.status, "message": "bad gateway"}}, status=fault.status)
        if fault is JUNK:
            return web.Response(body=b"<html>no")
        if fault is None:
            return response
        body = bytes(response.body or b"")  # type: ignore[arg-type]
        broken = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await broken.prepare(request)
        if fault is CUT:
            await broken.write(body[: len(body) // 2])
            assert request.transport is not None
            request.transport.close()
            return broken
        assert fault is SLOW
        for byte in body:
            await broken.write(bytes([byte]))
            await asyncio.sleep(0.5)
        return broken

    async def _do(self, request: web.Request) -> web.Response:
        if request.path == "/api/token":
            return await self._token({name: str(value) for name, value in (await request.post()).items()})
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.valid:
            return web.json_response({"error": {"status": 401, "message": "expired"}}, status=401)
        if not self.is_listed:
            return web.json_response({"error": {"status": 403, "message": "not registered"}}, status=403)
        body = await request.json() if request.can_read_body else {}
        return self._api(request, body)

    def _api(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        match [request.method, *request.path.strip("/").split("/")]:
            case ["GET", "me"]:
                return web.json_response({"id": "mina-at-spotify"})
            case ["GET", "search"]:
                return self._search(request)
            case ["GET", "me", "playlists"]:
                rows = [
                    {name: each[name] for name in ("id", "name", "description")} for each in self.playlists.values()
                ]
                return self._page(request, rows)
            case ["POST", "me", "playlists"]:
                id_ = f"pl{len(self.playlists)}"
                self.playlists[id_] = {"id": id_, **body, "uris": []}
                return web.json_response({"id": id_}, status=201)
            case ["DELETE", "me", "library"]:
                gone = self.playlists.pop(request.query["uris"].rpartition(":")[2], None)
                return web.Response(status=200 if gone else 404)
            case [method, "playlists", id_, "items"] if id_ in self.playlists:
                return self._items(method, request, self.playlists[id_]["uris"], body)
        return web.json_response({"error": {"status": 404, "message": "no"}}, status=404)

    def _items(self, method: str, request: web.Request, uris: list[str], body: dict[str, Any]) -> web.Response:
        if method == "GET":
            return self._page(request, [{"item": {"uri": uri}} for uri in uris])
        if method == "POST":
            uris += body["uris"]
        else:
            gone = {each["uri"] for each in body["items"]}
            uris[:] = [uri for uri in uris if uri not in gone]
        return web.json_response({"snapshot_id": "x"}, status=201)

    def _search(self, request: web.Request) -> web.Response:
        if int(request.query["limit"]) > PAGE:
            return web.json_response({"error": {"status": 400, "message": "limit"}}, status=400)
        query = request.query["q"]
        found = [each for each in self.tracks if f"isrc:{each[1]}" == query or each[2].split(" (")[0] in query]
        items = [{"uri": uri, "name": title, "artists": [{"name": artist}]} for uri, _, title, artist in found]
        return web.json_response({"tracks": {"items": items[:PAGE]}})

    def _page(self, request: web.Request, rows: list[Any]) -> web.Response:
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        assert limit <= PAGE
        more = "more" if offset + limit < len(rows) else None
        return web.json_response({"items": rows[offset : offset + limit], "next": more, "total": len(rows)})

    async def _token(self, form: dict[str, str]) -> web.Response:
        assert form["client_id"]
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            if self._codes.pop(form["code"], None) != base64.urlsafe_b64encode(digest).rstrip(b"=").decode():
                return web.json_response({"error": "invalid_grant"}, status=400)
            tokens: dict[str, Any] = {"refresh_token": "refresh-1"}
        else:
            await asyncio.sleep(self.refresh_s)
            if not self.grants or form["refresh_token"] != "refresh-1":
                return web.json_response({"error": "invalid_grant"}, status=400)
            self.refreshed += 1
            tokens = {} if self.refresh_token is None else {"refresh_token": self.refresh_token}
        access = f"access-{len(self.valid)}"
        self.valid.add(access)
        return web.json_response({"access_token": access, "expires_in": 3600, **tokens})
