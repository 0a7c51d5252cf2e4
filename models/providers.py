"""The list of providers of external models. A new provider is a folder and a line here."""

from collections.abc import Mapping

from models.gemini import provider as gemini
from models.provider import Provider

PROVIDERS: Mapping[str, Provider] = {each.name: each for each in (gemini.PROVIDER,)}
