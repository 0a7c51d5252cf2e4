"""The state of a running stack: the gateway's /ready, the supervisor's state, the engines' logs."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TAIL_BYTES = 8192


def ask_ready(gateway_url: str, scrape_token: str, timeout_s: float = 3.0) -> dict[str, Any] | None:
    """Return the body of GET /ready (200 or 503) with reasons; None if the gateway does not respond."""
    request = urllib.request.Request(  # noqa: S310 - http
        f"{gateway_url}/ready", headers={"authorization": f"Bearer {scrape_token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310 - http
            body: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as refusal:
        try:
            body = json.load(refusal)
        except ValueError:
            return None
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def summarise(ready: Mapping[str, Any] | None, state: Mapping[str, Any]) -> list[str]:
    """Return a line for each part that is not ready, in order of dependency; empty if all are."""
    lines = []
    for name, status in state.items():
        if name == "apply" or status["state"] == "running":
            continue
        lines.append(f"{name}: {status['state']}" + (f" ({status['detail']})" if status["detail"] else ""))
    if ready is None:
        return lines or ["gateway: starting"]
    for name, part in (ready.get("models") or {}).items():
        if not part.get("ready"):
            lines.append(f"{name}: {part.get('reason') or part.get('state') or 'not ready'}")
    for name in ("embedder", "directory"):
        part = ready.get(name)
        if isinstance(part, Mapping) and not part.get("ready", True):
            lines.append(f"{name}: {part.get('reason') or part.get('state') or 'not ready'}")
    if not lines and not ready.get("ready"):
        lines.append("gateway: not ready")
    return lines


def starting(ready: Mapping[str, Any] | None, state: Mapping[str, Any]) -> str:
    """Return what a start waits for, in one line: the parts that are starting, then the models, each with its stage.

    Reasons are left out, because unreachable parts are normal until Ray has placed everything; see `summarise`.
    """
    parts = [name for name, status in state.items() if name != "apply" and status["state"] == "starting"]
    failed = [
        f"{name}: {status['state']}" + (f" ({status['detail']})" if status["detail"] else "")
        for name, status in state.items()
        if name != "apply" and status["state"] not in ("starting", "running")
    ]
    models: dict[str, list[str]] = {}
    for name, part in {**((ready or {}).get("models") or {}), "embedder": (ready or {}).get("embedder")}.items():
        if isinstance(part, Mapping) and not part.get("ready", True):
            placed = part.get("state") not in (None, "absent", "unreachable")
            stage = str(part.get("reason") or part.get("state")) if placed else "waiting for Ray"
            models.setdefault(stage, []).append(name)
    lines = [f"starting {', '.join(parts)}"] if parts else []
    lines += failed + [f"{', '.join(names)}: {stage}" for stage, names in models.items()]
    return "; ".join(lines) or "starting gateway"


def newest_engine_line(logs: Path) -> str:
    """Return the last line of the engine log that was written last; empty without one."""
    files = [path for path in logs.glob("engine-*.log") if path.stat().st_size]
    return last_line(max(files, key=lambda path: path.stat().st_mtime)) if files else ""


def last_line(path: Path) -> str:
    """Return the last non-empty line of a file; empty without one."""
    try:
        with path.open("rb") as file:
            file.seek(-min(TAIL_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
