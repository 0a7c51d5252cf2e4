"""What a request says about being shared and being resumed, and the rule by which requests are the same.

Identical requests in flight are computed once when they would be answered alike anyway (greedy, or with a seed), or
when they come from one end user, for then somebody pressed twice. A sampled request without an end user is computed
each time: an application that sends one prompt many times at once wants different samples. `Cache-Control: no-cache`
or `no-store` is a wish for an answer of one's own. Identical means: the same application, end user, tier, class,
consent, conversation, wish for the cache, path, model and body. It does not know where answers are shared.
"""

import hashlib
import re
from typing import Any

import orjson

from serving.cache_key import owner_of
from serving.cache_wish import Wish
from serving.call import Call, is_deterministic
from serving.errors import InvalidRequest, UnknownStream

DISCONNECT_HEADER, RESUME_HEADER = "x-bondhu-on-disconnect", "last-event-id"
ABORT_S, FINISH_S = 0.0, float("inf")
_GRACE = re.compile(r"grace:([0-9]{1,6}(?:\.[0-9]{1,3})?)s")
_EVENT_ID = re.compile(r"([0-9a-f]{1,64}-[0-9a-f]{1,16}):([0-9]{1,12})")


def patience_of(named: str | None, max_grace_s: float) -> float:
    """How long an answer is wanted after its client left, s; raises InvalidRequest for what the header cannot be."""
    if named is None or named == "abort":
        return ABORT_S
    if named == "finish":
        return FINISH_S
    grace = _GRACE.fullmatch(named)
    if grace is None or float(grace[1]) > max_grace_s:
        raise InvalidRequest(
            f"{DISCONNECT_HEADER}: must be abort, finish, or grace:Ns with at most {max_grace_s:g} seconds, "
            "as grace:15s.",
            param=DISCONNECT_HEADER,
        )
    return float(grace[1])


def read_event_id(last: str) -> tuple[str, int]:
    """The recording that an event's id names, and the event's number; raises UnknownStream."""
    found = _EVENT_ID.fullmatch(last)
    if found is None:
        raise UnknownStream
    return found[1], int(found[2])


def with_ids(events: bytes, tape_id: str, first: int) -> bytes:
    """The same server-sent events with their ids: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    return b"".join(
        b"id: %s:%d\n%s\n\n" % (tape_id.encode(), number, event)
        for number, event in enumerate(events.split(b"\n\n")[:-1], first)
    )


def whose(app: str, user: str | None, path: str) -> str:
    """Who may read an answer, and where it was asked for, as digests: first `serving.cache_key.owner_of` them."""
    return f"{owner_of(app, user)}-{_digest(path)}"


def identity_of(call: Call, tier: str, wish: Wish, *, is_resumable: bool) -> str | None:
    """A digest that identical requests have in common; None for a request that is not shared."""
    if not wish.reads or (call.user is None and not is_deterministic(call.parsed)):
        return None
    who = [call.app, call.user, tier, call.class_, call.allow_external, call.allow_sensitive, call.conversation]
    who.append(call.country)
    return _digest([who, wish.mode, wish.kind, is_resumable, call.path, call.model, call.parsed])


def _digest(parts: Any) -> str:
    written = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(written, digest_size=16).hexdigest()
