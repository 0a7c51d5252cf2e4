"""Whose part of an engine's prefix cache a request may hit: the `cache_salt` that every request to an engine carries.

vLLM keeps the beginnings of prompts for whoever sends the same again, and says in `cached_tokens` how much it had. So a
stranger learns, block by block, how another's prompt begins. With a salt of each application's own they learn of their
own prompts alone; where a person's memory is in the prompt, the salt is that person's. A client cannot know it: it is
an HMAC (RFC 2104) under the cluster's key, the same in every gateway. Timing is not hidden by it.
"""

import hashlib
import hmac
from functools import lru_cache

import orjson

from serving.protocol.request import GenerationRequest

PURPOSE = b"bondhu prefix cache"  # the key opens other doors as well: what is made of it here fits none of them
OWN = "bondhu"  # of what the gateway asks for itself


class PrefixSalt:
    """Makes salts.

    Args:
        cluster_key: the secret that all gateways of a cluster have.

    """

    def __init__(self, cluster_key: str) -> None:
        self._key = hmac.digest(cluster_key.encode(), PURPOSE, hashlib.sha256)
        self._of_app = lru_cache(maxsize=1024)(lambda app: self._salt(app, None))

    def of(self, call: GenerationRequest) -> str:
        """The salt of a request: its application's, or its end user's when their memory may be in it."""
        return self._of_app(call.app) if call.conversation is None else self._salt(call.app, call.user)

    def _salt(self, app: str, user: str | None) -> str:
        # As JSON: no two pairs of names read alike, whatever is in them.
        return hmac.digest(self._key, orjson.dumps([app, user]), hashlib.sha256).hex()
