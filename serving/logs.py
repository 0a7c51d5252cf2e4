"""The gateway's log: one JSON object a line, or readable text on a terminal; secrets redacted; one line a request.

Fields: time (UTC), level, logger, message, request_id and trace_id of the request that it belongs to, then what the
call gave in `extra`; `exception` last. No prompt is logged, unless `log_prompts` and level debug are both set, and then
by the logger PROMPTS alone. It does not know files: `bondhu up` keeps standard error in var/logs.
"""

import hashlib
import logging
import re
import sys
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from serving import exchange
from serving.config_schema import LogFormat, LogLevel
from serving.exchange import Exchange
from serving.log_lines import TRACE, readable, to_json

OWN = ("bondhu", "serving", "agents", "memory", "models", "storage")  # loggers of this project
PROMPTS = "bondhu.prompts"
FIELDS = "fields"  # in `extra`: a mapping with names that logging keeps for itself, as `name`
PROBES = frozenset({"/health", "/ready", "/metrics"})
UNMATCHED = "(no route)"
REDACTED = "[redacted]"
SHORTEST_SECRET = 8  # a shorter value would take ordinary words out of messages
SECRET_NAMES = ("_TOKEN", "_KEY", "_SECRET", "_PASSWORD")
# None matches a quotation mark or a backslash, so that a line of JSON stays one.
_SECRETS = (
    r"\b(bd-|sk-|hf_|AIza)[A-Za-z0-9_-]{16,}"  # API keys: ours, and other people's
    r"|([Bb]earer )[^\s\"\\',]+"
    r"|(://)[^\s/@:\"\\]*:[^\s/@\"\\]+(?=@)"  # name and password of an address
)
_STANDARD = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"))

access = logging.getLogger("bondhu.access")


def set_up(
    *, level: LogLevel, format_: LogFormat, log_prompts: bool, secrets: Collection[str], stream: TextIO | None = None
) -> None:
    """Send every logger's lines, uvicorn's too, to `stream` (standard error) in one form.

    `secrets` are values that must not appear; "auto" is text on a terminal and JSON elsewhere.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # nobody reads them; a fifth faster
    stream = stream or sys.stderr
    as_text = format_ == "text" or (format_ == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter(Redactor(secrets), as_text=as_text, coloured=as_text and stream.isatty()))
    own_level = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(own_level, logging.WARNING))  # below, clients of other services log what they send: prompts
    for name in OWN:
        logging.getLogger(name).setLevel(own_level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):  # its own handlers were set up before the application
        theirs = logging.getLogger(name)
        theirs.handlers.clear()
        theirs.propagate = True
    with_prompts = log_prompts and level == "debug"
    logging.getLogger(PROMPTS).setLevel(logging.DEBUG if with_prompts else logging.CRITICAL + 1)


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """Return the values of variables that are named like secrets."""
    return {value for name, value in environ.items() if name.upper().endswith(SECRET_NAMES)}


class Redactor:
    """Takes secrets out of a line: given values, and what looks like an API key or a password in an address."""

    def __init__(self, secrets: Collection[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        known |= {orjson.dumps(secret).decode()[1:-1] for secret in known}  # as JSON spells it
        longest_first = sorted(known, key=len, reverse=True)
        self._signs = ("bd-", "sk-", "hf_", "AIza", "earer ", "@", *longest_first)
        self._secrets = re.compile("|".join([*map(re.escape, longest_first), _SECRETS]))

    def __call__(self, line: str) -> str:
        """Return the line without secrets; what says that one was there stays."""
        if any(sign in line for sign in self._signs):  # a tenth of the expression's time, and nearly always enough
            return self._secrets.sub(_redact, line)
        return line


def _redact(found: re.Match[str]) -> str:
    return (found[found.lastindex] if found.lastindex else "") + REDACTED


class Formatter(logging.Formatter):
    """A record as a line."""

    def __init__(self, redact: Callable[[str], str], *, as_text: bool, coloured: bool = False) -> None:
        super().__init__()
        self._redact = redact
        self._as_text = as_text
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (seen := exchange.current.get()) is not None:
            fields["request_id"] = seen.request_id
            if seen.trace_id is not None:
                fields["trace_id"] = seen.trace_id
        for name, value in (given.pop(FIELDS, {}) | given).items():
            fields.setdefault(name, value)
        if record.exc_info:
            fields[TRACE] = self.formatException(record.exc_info)
        return self._redact(readable(fields, coloured=self._coloured) if self._as_text else to_json(fields))


class UserHash:
    """Names end users in logs: the same for the same one, and nothing for who does not hold the key."""

    def __init__(self, key: str) -> None:
        self._key = hashlib.sha256(key.encode()).digest()

    def __call__(self, app: str, user: str) -> str:
        """Return 16 hexadecimal digits."""
        whole = f"{app}\0{user}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(whole, key=self._key, digest_size=8).hexdigest()


def log_access(seen: Exchange) -> None:
    """Write a request's line; those that only ask how the service is do not fill the log."""
    level = logging.DEBUG if seen.route in PROBES else logging.INFO
    if access.isEnabledFor(level):
        route = seen.route or UNMATCHED  # a path may name people
        fields = {"method": seen.method, "route": route, "status": seen.status, "duration_s": seen.duration_s}
        shown = seen.status if seen.status is not None else "not answered"
        access.log(level, "%s %s %s", seen.method, route, shown, extra={FIELDS: fields | seen.noted})
