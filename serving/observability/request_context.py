"""One HTTP request and its answer, as the service's logs, metrics and traces see it.

The middleware opens it; routes note on it what they learn; log lines that are written meanwhile carry its ids. It does
not know what is done with it.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

SCOPE_KEY = "bondhu.exchange"


@dataclass(slots=True)
class Exchange:
    """A request under way.

    `route` is the template of the path that matched ("" for none), `status` what was sent (None: nothing),
    `duration_s` is set at its end. `noted` goes into the access line, field by field: plain values, no text of a
    prompt, no name of a person (see `serving.observability.logs.UserHash`).
    """

    request_id: str
    method: str
    path: str
    route: str = ""
    status: int | None = None
    duration_s: float = 0.0
    trace_id: str | None = None
    noted: dict[str, Any] = field(default_factory=dict)


current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of a request that came through the middleware."""
    exchange: Exchange = scope[SCOPE_KEY]
    return exchange
