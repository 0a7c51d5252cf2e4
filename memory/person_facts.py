"""Facts about a person that an answer needs: country, time zone, age, jurisdiction.

The application sets them with `PUT /api/v1/profile`: `country` (two letters), `timezone` (an IANA zone), `age` or
`born` (2011-05-03, or a year), `jurisdiction` (a name in configs/safety.yaml).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Any

from storage.memory.people import zone_of

MAX_AGE = 130


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """The known facts; None or empty for unknown ones."""

    country: str | None = None
    zone: tzinfo | None = None
    age: int | None = None
    jurisdictions: tuple[str, ...] = ()


def facts_of(details: Mapping[str, Any], today: date) -> PersonFacts:
    """The facts in a profile's details; invalid values count as unknown."""
    country, named = details.get("country"), details.get("jurisdiction")
    return PersonFacts(
        country=country.upper() if isinstance(country, str) and len(country) == 2 and country.isalpha() else None,
        zone=zone_of(details),
        age=_age(details, today),
        jurisdictions=(named,) if isinstance(named, str) else (),
    )


def _age(details: Mapping[str, Any], today: date) -> int | None:
    age, born = details.get("age"), details.get("born")
    if isinstance(age, int) and not isinstance(age, bool) and 0 < age <= MAX_AGE:
        return age
    if isinstance(born, int) and 0 <= today.year - born <= MAX_AGE:
        return max(today.year - born - 1, 0)  # the birthday of this year may be to come
    try:
        day = date.fromisoformat(born) if isinstance(born, str) else None
    except ValueError:
        return None
    if day is None or day > today:
        return None
    return today.year - day.year - ((today.month, today.day) < (day.month, day.day))
