"""The fixed answer to messages about ending or harming one's own life.

It is written, not generated: it works while every model, Ray and Redis are down, and is the same for everyone. It
promises nothing and judges nothing; it asks the person to contact somebody, and names helplines. This module knows
neither the message nor what detected it.
"""

from agents.safety.helplines import DIRECTORIES, helplines_of

TEXT = (
    "I can't answer properly right now, and what you wrote matters too much to leave it at that. If you might hurt "
    "yourself, or are in danger, please call your local emergency number now, or go to someone who can be with you. "
    "Please don't stay alone with this. I'd like to talk again as soon as I can."
)
_OF_COUNTRY = "There are people who will listen to you right now, also if you don't know what to say:"
_OF_NO_COUNTRY = "There are people who will listen to you, also if you don't know what to say. Find a crisis line here:"
_ELSEWHERE = "If you are somewhere else:"


def crisis_reply(country: str | None = None, *, text: str = TEXT) -> str:
    """The text with the helplines of `country` (ISO 3166-1, two letters), if known, and the directories."""
    lines = helplines_of(country)
    contacts = [f"- {line.name}: {line.contact}" for line in lines]
    directories = [f"- {each.name}: {each.contact}" for each in DIRECTORIES]
    if contacts:
        return "\n".join([text, "", _OF_COUNTRY, *contacts, "", _ELSEWHERE, *directories])
    return "\n".join([text, "", _OF_NO_COUNTRY, *directories])
