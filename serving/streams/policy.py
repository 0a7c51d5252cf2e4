"""The headers for sharing and resuming, and which requests count as identical.

Identical in-flight requests are computed once if they would get the same answer anyway (greedy, or with a seed), or if
they come from one end user, who probably pressed twice. A sampled request without an end user is always computed: an
application that sends one prompt many times wants different samples, unless it says by an `Idempotency-Key` that it
repeats one request. `Cache-Control: no-cache` or `no-store` disables sharing. Identical means the same application, end
user, tier, class, consent, conversation, cache directives, path, model and body. This module does not know where
responses are shared.
"""

import hashlib
import re
from typing import Any

import orjson

from serving.cache.directives import CacheDirectives
from serving.errors import InvalidRequest, UnknownStream
from serving.protocol.owner import owner_of
from serving.protocol.request import GenerationRequest, is_deterministic

DISCONNECT_HEADER, RESUME_HEADER = "x-bondhu-on-disconnect", "last-event-id"
ABORT_S, FINISH_S = 0.0, float("inf")
_GRACE = re.compile(r"grace:([0-9]{1,6}(?:\.[0-9]{1,3})?)s")
_EVENT_ID = re.compile(r"([0-9a-f]{1,64}-[0-9a-f]{1,16}):([0-9]{1,12})")


def linger_of(named: str | None, max_grace_s: float) -> float:
    """Seconds for which a response is still generated after its client left; raises InvalidRequest."""
    if named is None or named == "abort":
        return ABORT_S
    if named == "finish":
        return FINISH_S
    grace = _GRACE.fullmatch(named)
    if grace is None or float(grace[1]) > max_grace_s:
        raise InvalidRequest(
            f"{DISCONNECT_HEADER}: must be abort, finish, or grace:Ns with at most {max_grace_s:g} seconds, such as "
            "grace:15s.",
            param=DISCONNECT_HEADER,
        )
    return float(grace[1])


def read_event_id(last: str) -> tuple[str, int]:
    """The recording id and the event number in an event id; raises UnknownStream."""
    found = _EVENT_ID.fullmatch(last)
    if found is None:
        raise UnknownStream
    return found[1], int(found[2])


def access_key(app: str, user: str | None, path: str) -> str:
    """A digest of who may read a recording and of its path; it starts with `serving.protocol.owner.owner_of`."""
    return f"{owner_of(app, user)}-{_digest(path)}"


def identity_of(
    request: GenerationRequest, tier: str, directives: CacheDirectives, *, is_resumable: bool
) -> str | None:
    """A digest that is equal for identical requests; None for a request that is not shared."""
    is_repeatable = directives.idempotency_key is not None or is_deterministic(request.parsed)
    if not directives.reads or (request.user is None and not is_repeatable):
        return None
    sender = [
        request.app,
        request.user,
        tier,
        request.class_,
        request.allow_external,
        request.allow_sensitive,
        request.conversation,
    ]
    sender += [request.country, request.checks_safety, request.notices, directives.idempotency_key]
    return _digest(
        [sender, directives.mode, directives.kind, is_resumable, request.path, request.model, request.parsed]
    )


def _digest(parts: Any) -> str:
    written = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(written, digest_size=16).hexdigest()
