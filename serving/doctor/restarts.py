"""How often the supervisor started its processes again, as it writes it down (`var/run/state.json`).

The counts go on while a gateway lives; a gateway that was itself started again knows of earlier ones by their times.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def counts(var_dir: Path) -> dict[str, float]:
    """Restarts of each process since the supervisor started; empty without a supervisor."""
    return {name: float(process["restarts"]) for name, process in _state(var_dir).items()}


def lately(var_dir: Path, since: float) -> dict[str, float]:
    """Restarts of each process after this time (Unix seconds), of the last ten that are known."""
    state = _state(var_dir)
    return {name: float(sum(at > since for at in process.get("restarted_at", ()))) for name, process in state.items()}


def _state(var_dir: Path) -> Mapping[str, Any]:
    try:
        state: dict[str, Any] = json.loads((var_dir / "run/state.json").read_text())
    except (OSError, ValueError):  # there is no supervisor
        return {}
    return {name: process for name, process in state.items() if "restarts" in process}
