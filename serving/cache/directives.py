"""What a request says about the cache of answers: `Cache-Control` (RFC 9111, section 5.2.1) and two headers of our own.

`x-bondhu-cache` narrows or widens what is looked for, `x-bondhu-cache-kind` says what kind of answer is wanted, so that
a sampled one may be kept for as long as that kind stays true. It does not know what can be cached.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from serving.errors import InvalidRequest

MODE_HEADER, KIND_HEADER = "x-bondhu-cache", "x-bondhu-cache-kind"
Mode = Literal["off", "exact", "semantic"]


@dataclass(frozen=True, slots=True)
class CacheDirectives:
    """What the client wants.

    `mode` None leaves it to the configuration; `kind` is one of the configured. `reads`: an answer from the cache is
    welcome. `keeps`: what is generated may be kept.
    """

    mode: Mode | None = None
    kind: str | None = None
    reads: bool = True
    keeps: bool = True


def read_directives(headers: Mapping[str, str], kinds: Collection[str]) -> CacheDirectives:
    """The wish in a request's headers; raises InvalidRequest, which names the header and what it accepts."""
    mode = _one_of(headers, MODE_HEADER, get_args(Mode))
    directives = {each.strip().lower() for each in headers.get("cache-control", "").split(",")}
    keeps = mode != "off" and "no-store" not in directives
    return CacheDirectives(
        mode=cast("Mode | None", mode),
        kind=_one_of(headers, KIND_HEADER, kinds),
        reads=keeps and directives.isdisjoint({"no-cache", "max-age=0"}),
        keeps=keeps,
    )


def _one_of(headers: Mapping[str, str], name: str, accepted: Collection[str]) -> str | None:
    given = headers.get(name)
    if given is not None and given not in accepted:
        raise InvalidRequest(f"{name}: must be one of {', '.join(accepted) or 'none: no kinds are set'}.", param=name)
    return given
