"""The section `cache`: stored responses."""

from typing import Annotated

from pydantic import Field

from serving.config.frozen import Frozen


class SemanticCacheSettings(Frozen):
    """Cached answers to a chat's first question when an earlier one had the same meaning; English only."""

    enabled: bool = Field(
        default=False,
        description="use it for every eligible chat; if false, only with the header `x-bondhu-cache: semantic`",
    )
    ttl_s: float = Field(default=300, gt=0, description="lifetime of a question, s")
    threshold: float = Field(
        default=0.92, gt=0, le=1, description="minimum cosine similarity for a hit (bench/serving/semantic_cache.py)"
    )
    timeout_s: float = Field(default=0.1, gt=0, description="timeout of embedding a question; after it: a miss, s")
    max_questions: int = Field(default=64, ge=1, description="number of recent questions to compare with")


class CacheSettings(Frozen):
    """The response cache in Redis; each end user of an application has a separate one."""

    enabled: bool = Field(default=True, description="use the response cache")
    deterministic_ttl_s: float = Field(
        default=3600, gt=0, description="lifetime for deterministic requests (temperature 0, or a seed), s"
    )
    ttl_s: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={"recommendations": 1800, "stats": 900, "genres": 86400},
        description="values that `x-bondhu-cache-kind` accepts, each with its lifetime, s",
    )
    max_answer_bytes: int = Field(default=2**18, ge=1, description="maximum size of a compressed response, bytes")
    max_answers: int = Field(
        default=256, ge=1, description="maximum responses of an end user; above, the next to expire is dropped"
    )
    semantic: SemanticCacheSettings = SemanticCacheSettings()
