"""The `cache_salt` of requests to an engine, which partitions its prefix cache.

vLLM caches prompt prefixes for all clients and reports hits in `cached_tokens`. So a client could find out, block by
block, how another client's prompt begins. A salt per application limits hits to its own prompts; if a person's memory
is in the prompt, the salt is per person. Clients cannot know it: it is an HMAC (RFC 2104) under the cluster key, the
same in every gateway. It does not hide timing.
"""

import hashlib
import hmac
from functools import lru_cache

import orjson

from serving.protocol.request import GenerationRequest

PURPOSE = b"bondhu prefix cache"  # derives a separate key, because the cluster key has other uses
OWN = "bondhu"  # salt of the gateway's own requests


class PrefixSalt:
    """Computes salts.

    Args:
        cluster_key: the secret that all gateways of a cluster share.

    """

    def __init__(self, cluster_key: str) -> None:
        self._key = hmac.digest(cluster_key.encode(), PURPOSE, hashlib.sha256)
        self._of_app = lru_cache(maxsize=1024)(lambda app: self._salt(app, None))

    def of(self, request: GenerationRequest) -> str:
        """The salt of a request: of its application, or of its end user if their memory may be in it."""
        if request.conversation is None:
            return self._of_app(request.app)
        return self._salt(request.app, request.user)

    def _salt(self, app: str, user: str | None) -> str:
        # As JSON, so that two different pairs never have the same text.
        return hmac.digest(self._key, orjson.dumps([app, user]), hashlib.sha256).hex()
