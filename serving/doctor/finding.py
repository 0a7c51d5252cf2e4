"""The doctor's report: findings, and advice with its reason, its step, its cost and its duration."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from serving.doctor.levels import Level

Move = Literal["optimise", "scale up", "scale out", "repair"]
MOVES: tuple[Move, ...] = ("repair", "optimise", "scale up", "scale out")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: `code` is for programs, `says` for people."""

    code: str
    level: Level
    says: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommended step: why, how (the edit or the command), its cost and its duration."""

    code: str
    move: Move
    why: str
    how: str
    costs: str
    takes: str


@dataclass(frozen=True, slots=True)
class Report:
    """Findings, and advice in the order in which to follow it."""

    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...]
    window_s: float

    @property
    def level(self) -> Level:
        """The worst level of all findings."""
        return max((finding.level for finding in self.findings), default=Level.HEALTHY)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object; `status` is healthy, warning or critical."""
        status = {Level.CRITICAL: "critical", Level.WARNING: "warning"}.get(self.level, "healthy")
        findings = sorted(self.findings, key=lambda finding: -finding.level)
        shown = [{**asdict(finding), "level": finding.level.name.lower()} for finding in findings]
        advice = [asdict(step) for step in self.advice]
        return {"status": status, "window_s": round(self.window_s, 1), "findings": shown, "advice": advice}
