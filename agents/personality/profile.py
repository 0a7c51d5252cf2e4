"""The stored personality of a person: answers, corrections, opt-in. Scores are computed when they are needed.

It is a document of the person (`agents.state`), so it is exported and erased with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.personality.items import HIGHEST, ITEMS, LOWEST, TRAITS, Item, Trait
from agents.personality.scores import Evidence
from agents.state import StateStore
from storage.agents.states import StateKey
from storage.memory.owner import Owner

AGENT, NAME = "personality", "profile"
NUMBERS = frozenset(item.number for item in ITEMS)


@dataclass(frozen=True, slots=True)
class Personality:
    """A person's profile; `version` is the document's, 0 if there is none.

    `language`: the last result of reading how they write (the job `personality`); empty without their opt-in.
    """

    answers: Mapping[int, int] = field(default_factory=dict)
    corrected: Mapping[Trait, float] = field(default_factory=dict)
    reads_language: bool = False
    language: Mapping[Trait, Evidence] = field(default_factory=dict)
    version: int = 0

    @property
    def next_item(self) -> Item | None:
        """The first unanswered phrase; None if all are answered."""
        return next((item for item in ITEMS if item.number not in self.answers), None)

    def value(self) -> dict[str, Any]:
        """The document."""
        return {
            "answers": {str(number): answer for number, answer in sorted(self.answers.items())},
            "corrected": dict(self.corrected),
            "reads_language": self.reads_language,
            "language": {trait: [each.estimate, each.error] for trait, each in self.language.items()}
            if self.reads_language
            else {},
        }


def key_of(owner: Owner) -> StateKey:
    """The key of the document."""
    return StateKey(owner, AGENT, "", NAME)


async def load_personality(states: StateStore, owner: Owner) -> Personality:
    """The stored profile; raises what the database raises."""
    kept = await states.load(key_of(owner))
    return Personality() if kept is None else _read(kept.value, kept.version)


async def save_personality(states: StateStore, owner: Owner, changed: Personality) -> bool:
    """Store it, replacing the version that it was made from; False if that has changed meanwhile."""
    return await states.save(key_of(owner), changed.value(), expected=changed.version)


def _read(value: Mapping[str, Any], version: int) -> Personality:
    """The valid entries of the document."""
    answers = {
        int(number): answer
        for number, answer in dict(value.get("answers") or {}).items()
        if str(number).isdecimal()
        and int(number) in NUMBERS
        and isinstance(answer, int)
        and LOWEST <= answer <= HIGHEST
    }
    corrected = dict(value.get("corrected") or {})
    return Personality(
        answers,
        {trait: float(corrected[trait]) for trait in TRAITS if isinstance(corrected.get(trait), int | float)},
        bool(value.get("reads_language")),
        _evidence(value.get("language")) if value.get("reads_language") else {},
        version,
    )


def _evidence(value: Any) -> dict[Trait, Evidence]:
    found: dict[Trait, Evidence] = {}
    for trait in TRAITS:
        match value.get(trait) if isinstance(value, Mapping) else None:
            case [int() | float() as estimate, int() | float() as error] if error > 0:
                found[trait] = Evidence(float(estimate), float(error))
    return found
