"""One HTTP request and its response, for logs, metrics and traces.

The middleware creates it, routes add fields, and log lines written meanwhile get its ids.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

SCOPE_KEY = "bondhu.exchange"


@dataclass(slots=True)
class Exchange:
    """A request in progress.

    `route` is the matched route template ("" for none), `status` the status sent (None: none yet), `duration_s` is set
    at the end. The fields of `noted` go into the access line: plain values, no prompts, no names of people (see
    `serving.observability.logs.UserHash`).
    """

    request_id: str
    method: str
    path: str
    route: str = ""
    status: int | None = None
    duration_s: float = 0.0
    trace_id: str | None = None
    noted: dict[str, Any] = field(default_factory=dict)
    statements: dict[str, int] = field(default_factory=dict)  # SQL, and how often


current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of a request that passed the middleware."""
    exchange: Exchange = scope[SCOPE_KEY]
    return exchange
