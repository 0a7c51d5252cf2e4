"""A request's cache directives: `Cache-Control` (RFC 9111, section 5.2.1) and two headers of our own.

`x-bondhu-cache` selects the lookup (off, exact, semantic). `x-bondhu-cache-kind` names the kind of response, so that
sampled responses can be cached for as long as that kind stays valid. This module does not know what can be cached.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from serving.errors import InvalidRequest

MODE_HEADER, KIND_HEADER = "x-bondhu-cache", "x-bondhu-cache-kind"
Mode = Literal["off", "exact", "semantic"]
MODES = get_args(Mode)


@dataclass(frozen=True, slots=True)
class CacheDirectives:
    """How a request may use the cache.

    `mode` None means the configured default; `kind` is one of the configured kinds. `reads`: a cached response may be
    used. `keeps`: the response may be stored.
    """

    mode: Mode | None = None
    kind: str | None = None
    reads: bool = True
    keeps: bool = True


def read_directives(headers: Mapping[str, str], kinds: Collection[str]) -> CacheDirectives:
    """The directives in a request's headers; raises InvalidRequest with the header and its accepted values."""
    mode = _one_of(headers, MODE_HEADER, MODES)
    directives = {directive.strip().lower() for directive in headers.get("cache-control", "").split(",")}
    keeps = mode != "off" and "no-store" not in directives
    return CacheDirectives(
        mode=cast("Mode | None", mode),
        kind=_one_of(headers, KIND_HEADER, kinds),
        reads=keeps and directives.isdisjoint({"no-cache", "max-age=0"}),
        keeps=keeps,
    )


def _one_of(headers: Mapping[str, str], name: str, accepted: Collection[str]) -> str | None:
    value = headers.get(name)
    if value is not None and value not in accepted:
        if not accepted:
            raise InvalidRequest(f"{name}: not accepted, because no kinds are configured (`cache.ttl_s`).", param=name)
        raise InvalidRequest(f"{name}: must be one of {', '.join(accepted)}.", param=name)
    return value
