"""A line in an engine's log for each request that the gateway names: so that one can be followed into the engine.

The line is one of ours as `serving.observability.log_format` parses them; it has no text of a prompt.
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
