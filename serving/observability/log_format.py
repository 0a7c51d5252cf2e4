"""Formats a structured log line for people: `12:00:01 INFO  serving.ledger.replay  sent  rows=3`.

Used for terminals and by `bondhu logs`. A line may contain text from a client or an engine, so control characters are
escaped.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

LEADING = ("time", "level", "logger", "message")
TRACE = "exception"
COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
_SHOWN = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_SHOWN_BUT_NEWLINE = {code: shown for code, shown in _SHOWN.items() if code not in (9, 10)}


def parse(line: str) -> Mapping[str, Any] | None:
    """Return the fields of a structured line; None for any other."""
    if not line.startswith("{"):
        return None
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) and all(name in fields for name in LEADING) else None


def to_json(fields: Any) -> str:
    """Return fields as a JSON line; values that JSON does not have are converted to text."""
    try:
        return orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate, such as in a path that is not UTF-8
        return orjson.dumps(_plain(fields)).decode()


def readable(fields: Mapping[str, Any], *, coloured: bool) -> str:
    """Return a structured line as text: local time, level, logger, message, then the other fields."""
    when = _local(str(fields["time"]))
    level = str(fields["level"])
    rest = "  ".join(f"{name}={_value(value)}" for name, value in fields.items() if name not in (*LEADING, TRACE))
    text = f"{when} {level:<7} {fields['logger']}  {fields['message']}".translate(_SHOWN)
    rest = rest.translate(_SHOWN)
    if coloured:
        text = f"{COLOURS[level]}{text}{PLAIN}" if level in COLOURS else text
        rest = f"{DIM}{rest}{PLAIN}" if rest else ""
    trace = f"\n{fields[TRACE]}".translate(_SHOWN_BUT_NEWLINE) if TRACE in fields else ""
    return f"{text}  {rest}".rstrip() + trace


def _local(time: str) -> str:
    try:
        return datetime.fromisoformat(time).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except ValueError:
        return time


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else to_json(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(str(name)): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (int, float)) or value is None:
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()
