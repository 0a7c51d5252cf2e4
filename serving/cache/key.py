"""Cache keys: digests, so that no Redis key contains text of a prompt.

The digest covers everything that can change the response: the model, its configuration, the whole body, and what else
the caller passes. The body's fields are sorted; their contents are not, because a chat template may depend on the
order. This module does not know what may be cached for whom.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from serving.protocol.request import GenerationRequest

INDIFFERENT = frozenset(  # fields that do not change the response
    {
        "metadata",
        "model",
        "priority",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "user",
    }
)
DIGEST_BYTES = 32


def digest(request: GenerationRequest, body: Mapping[str, Any], *about: str | None) -> bytes:
    """A digest of DIGEST_BYTES that is equal for equal requests.

    Args:
        request: the request.
        body: its body, or the relevant part of it.
        about: what else the response depends on, such as the model's configuration and the kind of response.

    """
    fields = sorted((name, value) for name, value in body.items() if name not in INDIFFERENT)
    # Streamed and whole responses are stored separately.
    whole = [request.path, request.model, request.streams, about, fields]
    return hashlib.sha256(orjson.dumps(whole), usedforsecurity=False).digest()
