"""GET /: the web page, and its files below /web/.

The files are read once at start. Browsers revalidate them with ETags. The content security policy only allows these
files and requests to this gateway; the page gets its data from the same endpoints as any other client. The files are
public and contain no personal data. POST /api/v1/sign-in exchanges the code of a one-time link for the page's key; the
code is in a header, so that no body of an unauthenticated request is read.
"""

import asyncio
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from serving.auth.sign_in import redeem
from serving.errors import TooManyKeys, Unauthenticated
from serving.routes.dependencies import Worker

SCHEME = "once"
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
INDEX = "index.html"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",  # cache it, but revalidate each time
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str


def read_page() -> dict[str, PageFile]:
    """The files of `serving/web`, by name."""
    pages = {}
    for file in files("serving.web").iterdir():
        media_type = MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            # Weak, because the response may be compressed by us or by a proxy.
            pages[file.name] = PageFile(content, media_type, f'W/"{hashlib.sha256(content).hexdigest()[:32]}"')
    return pages


def page_router() -> APIRouter:
    """Routes that serve the page."""
    page = read_page()
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(http_request: Request) -> Response:
        """The page."""
        return _answer(http_request, page[INDEX])

    @router.api_route("/web/{name}", methods=["GET", "HEAD"])
    async def file(name: str, http_request: Request) -> Response:
        """A file of the page."""
        if name not in page:
            raise HTTPException(404)
        return _answer(http_request, page[name])

    @router.post("/api/v1/sign-in")
    async def sign_in(http_request: Request, gateway: Worker) -> JSONResponse:
        """Exchange the code of a one-time link for the page's key."""
        scheme, _, code = http_request.headers.get("authorization", "").partition(" ")
        has_code = scheme.lower() == SCHEME and code
        address = http_request.client.host if http_request.client else ""
        if has_code and (wait_s := gateway.sign_ins.take(address)) > 0:
            raise TooManyKeys(math.ceil(wait_s))
        key = await asyncio.to_thread(redeem, gateway.settings.var_dir, code) if has_code else None
        if key is None:
            raise Unauthenticated("This link was used before or has expired. Run `bondhu page` for a new one.")
        gateway.sign_ins.give_back(address)
        return JSONResponse({"key": key}, headers={"cache-control": "no-store"})

    return router


def _answer(http_request: Request, file: PageFile) -> Response:
    headers = {**HEADERS, "etag": file.etag}
    etags = {etag.strip() for etag in http_request.headers.get("if-none-match", "").split(",")}
    if file.etag in etags or "*" in etags:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
