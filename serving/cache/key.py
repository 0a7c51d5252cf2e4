"""Under what name an answer is kept: digests, so that no key of Redis holds a word of a prompt.

Everything that can change the answer is in the digest: the model and the configuration that it runs with, the whole
body, and whatever else its caller names. Fields of the body are sorted; what lies inside them is not, for a
chat template may write it out in its order. It does not know what may be cached for whom.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from serving.protocol.request import GenerationRequest

INDIFFERENT = frozenset(  # fields that say who asks, or how it is handled, and never what is answered
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


def digest(call: GenerationRequest, body: Mapping[str, Any], *about: str | None) -> bytes:
    """DIGEST_BYTES that are the same for the same question.

    Args:
        call: the request.
        body: its own, or what of it matters.
        about: what else the answer depends on: the model's configuration, the kind of answer.

    """
    fields = sorted((name, value) for name, value in body.items() if name not in INDIFFERENT)
    # An answer that was generated for a stream is kept as a stream.
    whole = [call.path, call.model, call.streams, about, fields]
    return hashlib.sha256(orjson.dumps(whole), usedforsecurity=False).digest()
