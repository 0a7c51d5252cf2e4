"""People's accounts at external services, as routes use them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from agents.outside.tokens import Tokens
from storage.services.links import SqlLinks


@dataclass(frozen=True, slots=True)
class Accounts:
    """Linked accounts; `tokens` of Spotify, None: not configured; `by_name`: services that are linked by a name."""

    HOW: ClassVar[Mapping[str, Literal["oauth", "name"]]] = {
        "spotify": "oauth",
        "listenbrainz": "name",
        "lastfm": "name",
    }
    links: SqlLinks
    tokens: Tokens | None
    by_name: Collection[str]

    def is_configured(self, service: str) -> bool:
        """Whether the operator has configured the service."""
        return self.tokens is not None if self.HOW[service] == "oauth" else service in self.by_name
