"""How long each model's engine took to start last time: a file, from which clients are told when to try again."""

import json
from pathlib import Path


class StartTimes:
    """The seconds by model id, in `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, model: str) -> float | None:
        """The seconds that it took; None if it never started here."""
        return self._read().get(model)

    def note(self, model: str, seconds: float) -> None:
        """Note that it took so long."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({**self._read(), model: round(seconds, 1)}))
        new.replace(self._path)

    def _read(self) -> dict[str, float]:
        try:
            found: dict[str, float] = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found
