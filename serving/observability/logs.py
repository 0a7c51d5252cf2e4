"""The gateway's log: JSON lines, or text on a terminal, with secrets redacted and one access line per request.

Fields: time (UTC), level, logger, message, request_id and trace_id of the current request, then the fields of `extra`;
`exception` last. Prompts are logged only if `log_prompts` and level debug are both set, and only by the logger PROMPTS.
This module does not know files: `bondhu up` writes standard error to var/logs.
"""

import hashlib
import logging
import re
import sys
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from serving.config.schema import LogFormat, LogLevel
from serving.observability import request_context
from serving.observability.log_format import TRACE, readable, to_json
from serving.observability.request_context import Exchange

OWN = ("bondhu", "serving", "agents", "memory", "models", "storage")  # loggers of this project
PROMPTS = "bondhu.prompts"
FIELDS = "fields"  # in `extra`: a mapping that may have names reserved by logging, such as `name`
PROBES = frozenset({"/health", "/ready", "/metrics"})
UNMATCHED = "(no route)"
REDACTED = "[redacted]"
SHORTEST_SECRET = 8  # redacting a shorter value would remove ordinary words from messages
SECRET_NAMES = ("_TOKEN", "_KEY", "_SECRET", "_PASSWORD")
# None matches a quotation mark or a backslash, so that a line stays valid JSON.
_SECRETS = (
    r"\b(bd-|sk-|hf_|AIza)[A-Za-z0-9_-]{16,}"  # API keys, ours and of other services
    r"|([Bb]earer )[^\s\"\\',]+"
    r"|(://)[^\s/@:\"\\]*:[^\s/@\"\\]+(?=@)"  # name and password in a URL
)
_STANDARD = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"))

access = logging.getLogger("bondhu.access")


def set_up(
    *, level: LogLevel, format_: LogFormat, log_prompts: bool, secrets: Collection[str], stream: TextIO | None = None
) -> None:
    """Send the lines of all loggers, including uvicorn's, to `stream` (default: standard error) in one format.

    `secrets` are values to redact; "auto" means text on a terminal and JSON elsewhere.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # unused; without them 20 % faster
    stream = stream or sys.stderr
    as_text = format_ == "text" or (format_ == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter(Redactor(secrets), as_text=as_text, coloured=as_text and stream.isatty()))
    own_level = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(own_level, logging.WARNING))  # at lower levels, HTTP clients log request bodies: prompts
    for name in OWN:
        logging.getLogger(name).setLevel(own_level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):  # their handlers were set up before the application
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    with_prompts = log_prompts and level == "debug"
    logging.getLogger(PROMPTS).setLevel(logging.DEBUG if with_prompts else logging.CRITICAL + 1)


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """Return the values of variables whose names look like secrets."""
    return {value for name, value in environ.items() if name.upper().endswith(SECRET_NAMES)}


class Redactor:
    """Redacts secrets in a line: known values, and anything that looks like an API key or a password in a URL."""

    def __init__(self, secrets: Collection[str]) -> None:
        values = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        values |= {orjson.dumps(secret).decode()[1:-1] for secret in values}  # as JSON spells it
        longest_first = sorted(values, key=len, reverse=True)
        self._signs = ("bd-", "sk-", "hf_", "AIza", "earer ", "@", *longest_first)
        self._secrets = re.compile("|".join([*map(re.escape, longest_first), _SECRETS]))

    def __call__(self, line: str) -> str:
        """Return the line with REDACTED in place of secrets; prefixes such as `bd-` stay."""
        if any(sign in line for sign in self._signs):  # ten times as fast as the expression, and nearly always enough
            return self._secrets.sub(_redact, line)
        return line


def _redact(match: re.Match[str]) -> str:
    return (match[match.lastindex] if match.lastindex else "") + REDACTED


class Formatter(logging.Formatter):
    """Formats a log record as a line."""

    def __init__(self, redact: Callable[[str], str], *, as_text: bool, coloured: bool = False) -> None:
        super().__init__()
        self._redact = redact
        self._as_text = as_text
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (exchange := request_context.current.get()) is not None:
            fields["request_id"] = exchange.request_id
            if exchange.trace_id is not None:
                fields["trace_id"] = exchange.trace_id
        for name, value in (extra.pop(FIELDS, {}) | extra).items():
            fields.setdefault(name, value)
        if record.exc_info:
            fields[TRACE] = self.formatException(record.exc_info)
        return self._redact(readable(fields, coloured=self._coloured) if self._as_text else to_json(fields))


class UserHash:
    """Pseudonyms of end users in logs: stable, and meaningless without the key."""

    def __init__(self, key: str) -> None:
        self._key = hashlib.sha256(key.encode()).digest()

    def __call__(self, app: str, user: str) -> str:
        """Return 16 hexadecimal digits."""
        whole = f"{app}\0{user}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(whole, key=self._key, digest_size=8).hexdigest()


def log_access(exchange: Exchange) -> None:
    """Write a request's access line; health checks and scrapes are logged at debug level."""
    level = logging.DEBUG if exchange.route in PROBES else logging.INFO
    if access.isEnabledFor(level):
        route = exchange.route or UNMATCHED  # never the path: it may contain names of people
        fields = {
            "method": exchange.method,
            "route": route,
            "status": exchange.status,
            "duration_s": exchange.duration_s,
        }
        shown = exchange.status if exchange.status is not None else "no response"
        access.log(level, "%s %s %s", exchange.method, route, shown, extra={FIELDS: fields | exchange.noted})
