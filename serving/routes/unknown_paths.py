"""What a client learns whose path or method does not exist, and HEAD for every GET.

Usual mistakes have a remedy: a base URL with `/v1` twice or without it, and endpoints of other services that this one
does not have. This module does not know what the routes do.
"""

import difflib
from collections.abc import Iterable, Iterator

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_SHOWN = 80  # characters of the path
NOT_HERE = {  # endpoints of OpenAI's and Anthropic's services, and what there is instead
    "/v1/responses/": "responses are not stored; send the whole conversation as `input` of POST /v1/responses",
    "/v1/conversations": "send the whole conversation; docs/memory.md describes what is remembered",
    "/v1/messages/batches": "there are no batches; docs/jobs.md describes background jobs",
    "/v1/batches": "there are no batches; docs/jobs.md describes background jobs",
    "/v1/files": "files are not stored",
    "/v1/uploads": "files are not stored",
    "/v1/vector_stores": "files are not stored; docs/memory.md describes what is remembered",
    "/v1/assistants": "there are agents instead: GET /api/v1/agents",
    "/v1/threads": "there are agents instead: GET /api/v1/agents",
    "/v1/rerank": "there is no ranking model for clients; POST /api/v1/recall ranks what is remembered of a person",
    "/v2/rerank": "there is no ranking model for clients; POST /api/v1/recall ranks what is remembered of a person",
    "/rerank": "there is no ranking model for clients; POST /api/v1/recall ranks what is remembered of a person",
    "/score": "there is no ranking model for clients; POST /v1/embeddings makes vectors to compare",
    "/v1/score": "there is no ranking model for clients; POST /v1/embeddings makes vectors to compare",
    "/pooling": "POST /v1/embeddings makes vectors",
    "/v1/complete": "use POST /v1/messages",
    "/v1/moderations": "every chat is checked; docs/safety.md describes it",
    "/v1/audio": "this service has text models only",
    "/v1/images": "this service has text models only",
    "/v1/videos": "this service has text models only",
    "/v1/realtime": "use POST /v1/chat/completions with stream: true",
    "/v1/fine_tuning": "models are not trained here; docs/configuration.md describes adapters",
}


class HeadAsGet:
    """ASGI middleware: HEAD is answered as GET; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send)
        finally:
            scope["route"] = as_get.get("route")  # for the metrics


def explain(request: Request, error: HTTPException) -> str | None:
    """The message for an unknown path or method; None for other errors."""
    method, path = request.scope["method"], request.scope["path"]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow")
        return f"{path[:MAX_SHOWN]} does not accept {method[:16]}; it accepts {allowed}." if allowed else None
    if error.status_code != 404:
        return None
    shown = f"There is no {method[:16]} {path[:MAX_SHOWN]}"
    remedy = _remedy(path, set(_paths(request.app.routes)))
    return f"{shown}: {remedy}." if remedy else f"{shown}. GET /openapi.json lists what exists."


def _remedy(path: str, known: set[str]) -> str | None:
    stripped = path.rstrip("/")
    for candidate in (stripped.replace("/v1/v1", "/v1"), f"/v1{stripped}", stripped, stripped.replace("//", "/")):
        if candidate in known and candidate != path:
            return f"use {candidate} (the base URL of OpenAI's clients ends in /v1, that of Anthropic's before it)"
    for prefix, instead in NOT_HERE.items():
        if path.startswith(prefix):
            return instead
    closest = difflib.get_close_matches(stripped[:MAX_SHOWN], known, n=1, cutoff=0.75)
    return f"did you mean {closest[0]}" if closest else None


def _paths(routes: Iterable[BaseRoute]) -> Iterator[str]:
    for route in routes:
        path = getattr(route, "path", None)
        if isinstance(path, str) and path.startswith(("/v1", "/api")):
            yield path
        yield from _paths(getattr(route, "routes", None) or ())
