"""What the doctor says: findings, and advice with its reason, its exact step, its price and its time."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from serving.doctor.levels import Level

Move = Literal["optimise", "scale up", "scale out", "repair"]
MOVES: tuple[Move, ...] = ("repair", "optimise", "scale up", "scale out")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at: `code` names it for programs, `says` for people."""

    code: str
    level: Level
    says: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do: why, how (the edit or the command), what it costs, how long it takes."""

    code: str
    move: Move
    why: str
    how: str
    costs: str
    takes: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of it; advice in the order to follow."""

    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...]
    window_s: float

    @property
    def level(self) -> Level:
        """The worst."""
        return max((finding.level for finding in self.findings), default=Level.HEALTHY)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; `status` is healthy, warning or critical."""
        status = {Level.CRITICAL: "critical", Level.WARNING: "warning"}.get(self.level, "healthy")
        findings = sorted(self.findings, key=lambda finding: -finding.level)
        shown = [{**asdict(finding), "level": finding.level.name.lower()} for finding in findings]
        advice = [asdict(each) for each in self.advice]
        return {"status": status, "window_s": round(self.window_s, 1), "findings": shown, "advice": advice}
