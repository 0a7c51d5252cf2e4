"""Erasure of a person's cached responses (implements `memory.erasure.ErasureTarget`)."""

from serving.cache.response_cache import ResponseCache
from serving.protocol.owner import owner_of, owners_of
from serving.resilience.redis import erasing
from storage.memory.owner import Owner


class ResponseErasure:
    """Deletes from `cache` and counts what is left; both raise CacheAway if Redis is unavailable."""

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache

    async def forget(self, whom: Owner | str) -> None:
        """Delete the responses of a person, or of a whole application."""
        with erasing():
            if isinstance(whom, str):
                await self._cache.forget_app(whom)
            else:
                await self._cache.forget(whom.app, whom.user)

    async def count(self, whom: Owner | str) -> int:
        """The number of cached responses."""
        with erasing():
            if isinstance(whom, str):
                return await self._cache.store.count_all(owners_of(whom))
            return await self._cache.store.count(owner_of(whom.app, whom.user))
