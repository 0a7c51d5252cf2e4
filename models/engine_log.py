"""Logs one line in the engine for each request that the gateway names, so that requests can be traced into it.

The line has the format of `serving.observability.log_format` and contains no prompt.
"""

import json
import sys
from datetime import UTC, datetime

HEADER = "x-request-id"
MAX_CHARS = 128


def log_request(request_id: str, path: str, duration_s: float) -> None:
    """Write that a request has ended, however that was."""
    fields = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "INFO",
        "logger": "bondhu.engine",
        "message": f"POST {path}",
        "request_id": request_id[:MAX_CHARS],
        "duration_s": round(duration_s, 4),
    }
    sys.stderr.write(json.dumps(fields) + "\n")
    sys.stderr.flush()
