"""On whose behalf a request comes, and in which class: from its headers, or the body's `user`."""

import contextlib
from collections.abc import Mapping
from typing import Any, cast, get_args

from fastapi import Request

from serving.errors import InvalidRequest
from serving.protocol.request import CHAT
from storage.api_keys import KeyRecord
from storage.tables import RequestClass

USER_HEADER, CLASS_HEADER = "x-bondhu-user", "x-bondhu-class"
MEMORY_HEADER, CONVERSATION_HEADER = "x-bondhu-memory", "x-bondhu-conversation"
COUNTRY_HEADER = "x-bondhu-country"
DEFAULT_CONVERSATION = "chat"
LONGEST_NAME = 256  # characters


def end_user(http_request: Request, parsed: Mapping[str, Any]) -> str | None:
    """The application's end user, as the application calls them; None when the request names nobody."""
    named = _header(http_request, USER_HEADER) or parsed.get("user")
    return named if isinstance(named, str) and named else None


def class_of(http_request: Request) -> RequestClass:
    """`interactive`, unless the request says less; raises InvalidRequest."""
    named = http_request.headers.get(CLASS_HEADER, "interactive")
    if named not in get_args(RequestClass):
        accepted = ", ".join(get_args(RequestClass))
        raise InvalidRequest(f"{CLASS_HEADER}: must be one of {accepted}.", param=CLASS_HEADER)
    return cast("RequestClass", named)


def named_conversation(http_request: Request) -> str:
    """The conversation that the request names, or the usual one; raises InvalidRequest for what is no name."""
    named = _header(http_request, CONVERSATION_HEADER, DEFAULT_CONVERSATION)
    if not named or not _is_name(named):
        raise InvalidRequest(f"{CONVERSATION_HEADER}: 1 to {LONGEST_NAME} characters.", param=CONVERSATION_HEADER)
    return named


def conversation_of(
    http_request: Request, caller: KeyRecord, path: str, parsed: Mapping[str, Any], named: str
) -> str | None:
    """`named`, where a chat is to be remembered; None when memory is not asked for, by the request or its key.

    Raises InvalidRequest for a header that cannot be, and for one that asks for the memory of nobody.
    """
    header = http_request.headers.get(MEMORY_HEADER)
    if header not in (None, "on", "off"):
        raise InvalidRequest(f"{MEMORY_HEADER}: must be on or off.", param=MEMORY_HEADER)
    user = end_user(http_request, parsed)
    if header == "on":
        if path != CHAT:
            raise InvalidRequest(f"{MEMORY_HEADER}: only chats are remembered.", param=MEMORY_HEADER)
        if user is None:
            raise InvalidRequest(f"user: name the end user, here or in the header {USER_HEADER}.", param="user")
        if not _is_name(user):
            raise InvalidRequest(f"user: at most {LONGEST_NAME} characters, no NUL.", param="user")
    is_on = header == "on" or (header is None and caller.memory and path == CHAT)
    return named if is_on and user is not None and _is_name(user) else None


def check_user(user: str | None) -> None:
    """Refuse an end user whom nothing can be kept of; raises InvalidRequest."""
    if user is not None and not _is_name(user):
        raise InvalidRequest(f"user: at most {LONGEST_NAME} characters, no NUL.", param="user")


def country_of(http_request: Request) -> str | None:
    """Where the person is, as the application says, by two letters (ISO 3166-1); what is no such name is none."""
    named = http_request.headers.get(COUNTRY_HEADER, "").strip()
    return named.upper() if len(named) == 2 and named.isascii() and named.isalpha() else None


def about(http_request: Request, caller: KeyRecord, endpoint: str, parsed: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger is told when a request begins."""
    model = parsed.get("model")
    named = http_request.headers.get(CLASS_HEADER)
    return {
        "request_id": http_request.scope["bondhu.request_id"],
        "app": caller.app,
        "key_id": caller.id,
        "end_user": end_user(http_request, parsed),
        "class_": named if named in get_args(RequestClass) else "interactive",
        "endpoint": endpoint,
        "model_asked": model if isinstance(model, str) else None,
    }


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST_NAME and "\0" not in name


def _header(http_request: Request, name: str, otherwise: str = "") -> str:
    """A header's value as UTF-8, which a body or a path is in too."""
    value = http_request.headers.get(name, otherwise)
    with contextlib.suppress(UnicodeError):
        return value.encode("latin-1").decode()
    return value
