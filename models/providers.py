"""Which providers of models outside there are. A new one is its folder and a line here."""

from collections.abc import Mapping

from models.gemini import provider as gemini
from models.provider import Provider

PROVIDERS: Mapping[str, Provider] = {each.name: each for each in (gemini.PROVIDER,)}
