"""Legal duties of a companion by place: how often to disclose that it is a program, and to remind of a break.

Read from `configs/safety.yaml`, which names the sources. If several places apply, the strictest of each duty applies.
This module does not know where a person is; the caller does.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

DEFAULT = "default"


class JurisdictionError(Exception):
    """The file is invalid or lacks the place; the message names file, key and accepted values."""


class Duties(BaseModel):
    """The duties in one place. Hours of 0: never again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(min_length=1, max_length=300)
    disclose_at_start: bool
    disclose_every_h: float = Field(ge=0, le=24)
    break_reminder_every_h: float = Field(ge=0, le=24)
    minor_disclose_every_h: float = Field(ge=0, le=24)
    minor_break_reminder_every_h: float = Field(ge=0, le=24)
    adult_age: int = Field(ge=13, le=25)
    assume_minor_if_unknown: bool
    report_referrals: bool
    countries: tuple[str, ...] = ()  # two letters each; who is there is found by their country

    def is_minor(self, age: int | None) -> bool:
        """Whether a person of this age is a minor; None if the age is unknown."""
        return self.assume_minor_if_unknown if age is None else age < self.adult_age


def read_jurisdictions(path: Path) -> Mapping[str, Duties]:
    """All places in the file; raises JurisdictionError."""
    try:
        written = yaml.safe_load(path.read_text("utf-8"))
        jurisdictions = {name: Duties.model_validate(duties) for name, duties in written.items()}
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise JurisdictionError(f"{path}: places with their duties are expected: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise JurisdictionError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if DEFAULT not in jurisdictions:
        raise JurisdictionError(f"{path}: the place {DEFAULT!r} is missing")
    return jurisdictions


def duties_of(jurisdictions: Mapping[str, Duties], names: Iterable[str]) -> Duties:
    """The strictest duties of these places, or the default's; raises JurisdictionError for an unknown name."""
    chosen = []
    for name in names:
        if name not in jurisdictions:
            raise JurisdictionError(f"no jurisdiction {name!r}; there are {', '.join(sorted(jurisdictions))}")
        chosen.append(jurisdictions[name])
    chosen = chosen or [jurisdictions[DEFAULT]]
    if len(chosen) == 1:
        return chosen[0]
    return Duties(
        source=" ".join(each.source for each in chosen)[:300],
        disclose_at_start=any(each.disclose_at_start for each in chosen),
        disclose_every_h=_strictest(each.disclose_every_h for each in chosen),
        break_reminder_every_h=_strictest(each.break_reminder_every_h for each in chosen),
        minor_disclose_every_h=_strictest(each.minor_disclose_every_h for each in chosen),
        minor_break_reminder_every_h=_strictest(each.minor_break_reminder_every_h for each in chosen),
        adult_age=max(each.adult_age for each in chosen),
        assume_minor_if_unknown=any(each.assume_minor_if_unknown for each in chosen),
        report_referrals=any(each.report_referrals for each in chosen),
    )


def _strictest(hours: Iterable[float]) -> float:
    return min((each for each in hours if each > 0), default=0.0)
