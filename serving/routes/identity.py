"""A request's end user, class, conversation and country, from its headers or the body's `user`."""

import contextlib
from collections.abc import Mapping
from typing import Any, cast, get_args

from fastapi import Request

from serving.errors import InvalidRequest
from serving.protocol.request import CHAT, DEFAULT_CONVERSATION, NoticesShown
from storage.api_keys import KeyRecord
from storage.tables import RequestClass

USER_HEADER, CLASS_HEADER = "x-bondhu-user", "x-bondhu-class"
MEMORY_HEADER, CONVERSATION_HEADER = "x-bondhu-memory", "x-bondhu-conversation"
COUNTRY_HEADER, NOTICES_HEADER = "x-bondhu-country", "x-bondhu-notices"
LONGEST_NAME = 256  # characters
CLASSES = get_args(RequestClass)


def end_user(http_request: Request, parsed: Mapping[str, Any]) -> str | None:
    """The end user, by the application's own name; None if the request has none."""
    named = _header(http_request, USER_HEADER) or parsed.get("user")
    return named if isinstance(named, str) and named else None


def check_one_user(http_request: Request, parsed: Mapping[str, Any]) -> None:
    """Raise InvalidRequest if header and body name different end users."""
    header, named = _header(http_request, USER_HEADER), parsed.get("user")
    if header and isinstance(named, str) and named and named != header:
        raise InvalidRequest(f"user: differs from the header {USER_HEADER}; name the user once.", param="user")


def class_of(http_request: Request) -> RequestClass:
    """The request's class, by default `interactive`; raises InvalidRequest."""
    named = http_request.headers.get(CLASS_HEADER, "interactive")
    if named not in CLASSES:
        accepted = ", ".join(CLASSES)
        raise InvalidRequest(f"{CLASS_HEADER}: must be one of {accepted}.", param=CLASS_HEADER)
    return cast("RequestClass", named)


def named_conversation(http_request: Request) -> str:
    """The request's conversation, or the default one; raises InvalidRequest for an invalid name."""
    named = _header(http_request, CONVERSATION_HEADER, DEFAULT_CONVERSATION)
    if not named or not _is_name(named):
        raise InvalidRequest(
            f"{CONVERSATION_HEADER}: must have 1 to {LONGEST_NAME} characters.", param=CONVERSATION_HEADER
        )
    return named


def conversation_of(
    http_request: Request, caller: KeyRecord, path: str, parsed: Mapping[str, Any], named: str
) -> str | None:
    """`named` if the chat is remembered; None if neither the request nor its key turns memory on.

    Raises InvalidRequest for an invalid header, and for memory without an end user.
    """
    header = http_request.headers.get(MEMORY_HEADER)
    if header not in (None, "on", "off"):
        raise InvalidRequest(f"{MEMORY_HEADER}: must be on or off.", param=MEMORY_HEADER)
    user = end_user(http_request, parsed)
    if header == "on":
        if path != CHAT:
            raise InvalidRequest(f"{MEMORY_HEADER}: memory is only available at {CHAT}.", param=MEMORY_HEADER)
        if user is None:
            raise InvalidRequest(f"user: required; set it here or in the header {USER_HEADER}.", param="user")
        if not _is_name(user):
            raise InvalidRequest(f"user: must have at most {LONGEST_NAME} characters and no NUL.", param="user")
    is_on = header == "on" or (header is None and caller.memory and path == CHAT)
    return named if is_on and user is not None and _is_name(user) else None


def check_user(user: str | None) -> None:
    """Raise InvalidRequest for a user name that cannot be stored."""
    if user is not None and not _is_name(user):
        raise InvalidRequest(f"user: must have at most {LONGEST_NAME} characters and no NUL.", param="user")


def country_of(http_request: Request) -> str | None:
    """The person's country (ISO 3166-1 alpha-2) from the request; None if missing or invalid."""
    named = http_request.headers.get(COUNTRY_HEADER, "").strip()
    return named.upper() if len(named) == 2 and named.isascii() and named.isalpha() else None


def notices_of(http_request: Request, caller: KeyRecord, *, is_agent: bool) -> NoticesShown:
    """How notices are shown; raises InvalidRequest for an invalid header.

    The key decides whether they are shown. The client chooses between text and events.
    """
    shown = http_request.headers.get(NOTICES_HEADER)
    if shown not in (None, "text", "event"):
        raise InvalidRequest(f"{NOTICES_HEADER}: must be text or event.", param=NOTICES_HEADER)
    is_on = caller.notices == "on" or (caller.notices == "agents" and is_agent)
    return "off" if not is_on else "event" if shown == "event" else "text"


def about(http_request: Request, caller: KeyRecord, endpoint: str, parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The ledger's fields of a request that begins."""
    model = parsed.get("model")
    named = http_request.headers.get(CLASS_HEADER)
    return {
        "request_id": http_request.scope["bondhu.request_id"],
        "app": caller.app,
        "key_id": caller.id,
        "end_user": end_user(http_request, parsed),
        "class_": named if named in CLASSES else "interactive",
        "endpoint": endpoint,
        "model_asked": model if isinstance(model, str) else None,
    }


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST_NAME and "\0" not in name


def _header(http_request: Request, name: str, otherwise: str = "") -> str:
    """A header's value, decoded as UTF-8 like bodies and paths."""
    value = http_request.headers.get(name, otherwise)
    if value.isascii():
        return value
    with contextlib.suppress(UnicodeError):
        return value.encode("latin-1").decode()
    return value
