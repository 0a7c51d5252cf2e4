"""The table of faults: each row is written by the test that made the fault, from what that test saw."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.faults.seen import Seen

HEAD = """# Faults

Each row of the table is a part that was broken on purpose, what the client saw, and the state afterwards. The processes
are real: vLLM, Ray, Redis, Postgres, the gateway. Gemini is a local server that speaks its protocol. The test that
breaks the part (`tests/faults/`) writes its row from what it observed; `make faults` runs them all and writes this
page.

- **Client**: how many requests, and the responses.
- **Ledger**: the SQL rows of these requests, by outcome. The test fails if a request has no row, or two.
- **Limits**: the reserved tokens, and what happened to them. The test fails if any reservation stays open, or if the
  tokens differ from the ledger's.
- **Engine**: its state after the fault.

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


def summary_of(seen: Sequence[Seen]) -> str:
    """The clients' results, counted by kind."""
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
    """The faults listed on a page of the docs, in order."""
    lines = [line for line in page.splitlines() if line.startswith("| ")][2:]
    return [line.split(" | ")[0].removeprefix("| ") for line in lines]
