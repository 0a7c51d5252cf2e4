"""On whose behalf a request comes, and in which class: from its headers, or the body's `user`."""

import contextlib
from collections.abc import Mapping
from typing import Any, cast, get_args

from fastapi import Request

from serving.errors import InvalidRequest
from storage.keys import KeyRecord
from storage.schema import RequestClass

USER_HEADER, CLASS_HEADER = "x-bondhu-user", "x-bondhu-class"


def end_user(request: Request, parsed: Mapping[str, Any]) -> str | None:
    """The application's end user, as the application calls them; None when the request names nobody."""
    named = request.headers.get(USER_HEADER)
    if named:
        with contextlib.suppress(UnicodeError):
            named = named.encode("latin-1").decode()  # the same name as in a body or a path, which are UTF-8
    else:
        named = parsed.get("user")
    return named if isinstance(named, str) and named else None


def class_of(request: Request) -> RequestClass:
    """`interactive`, unless the request says less; raises InvalidRequest."""
    named = request.headers.get(CLASS_HEADER, "interactive")
    if named not in get_args(RequestClass):
        accepted = ", ".join(get_args(RequestClass))
        raise InvalidRequest(f"{CLASS_HEADER}: must be one of {accepted}.", param=CLASS_HEADER)
    return cast("RequestClass", named)


def about(request: Request, caller: KeyRecord, endpoint: str, parsed: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger is told when a request begins."""
    model = parsed.get("model")
    named = request.headers.get(CLASS_HEADER)
    return {
        "request_id": request.scope["bondhu.request_id"],
        "app": caller.app,
        "key_id": caller.id,
        "end_user": end_user(request, parsed),
        "class_": named if named in get_args(RequestClass) else "interactive",
        "endpoint": endpoint,
        "model_asked": model if isinstance(model, str) else None,
    }
