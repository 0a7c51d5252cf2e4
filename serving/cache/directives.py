"""A request's cache directives: `Cache-Control` (RFC 9111, section 5.2.1), `Idempotency-Key`, two headers of our own.

`x-bondhu-cache` selects the lookup (off, exact, semantic). `x-bondhu-cache-kind` names the kind of response, so that
sampled responses can be cached for as long as that kind stays valid. `Idempotency-Key` marks the repetitions of one
request, which get one response, sampled or not
(https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header). This module does not know what can be
cached.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from serving.errors import InvalidRequest

MODE_HEADER, KIND_HEADER, IDEMPOTENCY_HEADER = "x-bondhu-cache", "x-bondhu-cache-kind", "idempotency-key"
MAX_KEY_CHARS = 255
Mode = Literal["off", "exact", "semantic"]
MODES = get_args(Mode)


@dataclass(frozen=True, slots=True)
class CacheDirectives:
    """How a request may use the cache.

    `mode` None means the configured default; `kind` is one of the configured kinds. `reads`: a cached response may be
    used. `keeps`: the response may be stored. `idempotency_key` is the same in all repetitions of a request.
    """

    mode: Mode | None = None
    kind: str | None = None
    reads: bool = True
    keeps: bool = True
    idempotency_key: str | None = None


def read_directives(headers: Mapping[str, str], kinds: Collection[str]) -> CacheDirectives:
    """The directives in a request's headers; raises InvalidRequest with the header and its accepted values."""
    mode = _one_of(headers, MODE_HEADER, MODES)
    directives = {directive.strip().lower() for directive in headers.get("cache-control", "").split(",")}
    keeps = mode != "off" and "no-store" not in directives
    idempotency_key = headers.get(IDEMPOTENCY_HEADER)
    if idempotency_key is not None and not 0 < len(idempotency_key) <= MAX_KEY_CHARS:
        message = f"{IDEMPOTENCY_HEADER}: must have 1 to {MAX_KEY_CHARS} characters."
        raise InvalidRequest(message, param=IDEMPOTENCY_HEADER)
    return CacheDirectives(
        mode=cast("Mode | None", mode),
        kind=_one_of(headers, KIND_HEADER, kinds),
        reads=keeps and directives.isdisjoint({"no-cache", "max-age=0"}),
        keeps=keeps,
        idempotency_key=idempotency_key,
    )


def _one_of(headers: Mapping[str, str], name: str, accepted: Collection[str]) -> str | None:
    value = headers.get(name)
    if value is not None and value not in accepted:
        if not accepted:
            raise InvalidRequest(f"{name}: not accepted, because no kinds are configured (`cache.ttl_s`).", param=name)
        raise InvalidRequest(f"{name}: must be one of {', '.join(accepted)}.", param=name)
    return value
