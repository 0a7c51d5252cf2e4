"""The table of faults: each row is written by the test that made the fault, from what that test saw."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.faults.seen import Seen

HEAD = """# Faults

What a client saw when a part was broken on purpose, and what was right afterwards. Real processes: vLLM, Ray, Redis,
Postgres, the gateway; Gemini is a local server that speaks its protocol. Each line is written by the test that broke
the part (`tests/faults/`), from what that test observed; `make faults` runs them and writes this page.

- **Client**: how many requests, and what came back.
- **Ledger**: rows in SQL for the requests, by outcome; a request without a row, or with two, fails the test.
- **Limits**: tokens reserved, and what became of them; anything left open, or other tokens than the ledger counted,
  fails the test.
- **Engine**: what it does after the fault.

"""
COLUMNS = ("Fault", "Client", "Ledger", "Limits", "Engine, service")


@dataclass(frozen=True)
class Line:
    """One fault."""

    fault: str
    client: str
    ledger: str
    limits: str
    engine: str


def told(seen: Sequence[Seen]) -> str:
    """What clients saw, the same things counted."""
    counted = Counter(str(each) for each in seen)
    return "; ".join(f"{number} x {what}" if len(seen) > 1 else what for what, number in counted.items())


class Matrix:
    """The lines of this run."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}

    def add(self, fault: str, *, client: str, ledger: str, limits: str, engine: str) -> None:
        """Note a fault that was survived as it should be."""
        assert fault not in self.lines
        self.lines[fault] = Line(fault, client, ledger, limits, engine)

    def markdown(self) -> str:
        """The page."""
        rows = [COLUMNS, tuple("---" for _ in COLUMNS)]
        rows += [(line.fault, line.client, line.ledger, line.limits, line.engine) for line in self.lines.values()]
        return HEAD + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"

    def write(self, path: Path) -> None:
        """Write the page."""
        path.write_text(self.markdown())


def faults_of(page: str) -> list[str]:
    """The faults that a written page tells of, in order."""
    lines = [line for line in page.splitlines() if line.startswith("| ")][2:]
    return [line.split(" | ")[0].removeprefix("| ") for line in lines]
