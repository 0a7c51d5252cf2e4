"""The response cache: decides what is looked up, what a lookup may return, and what is stored.

An identical request gets a cached response if it is deterministic, or if it names a kind of response
(`serving.cache.directives`). A chat's first question with the same meaning as an earlier one may get that one's, for a
shorter time (`serving.cache.semantic`). Entries are separate for each application and end user, and only valid for the
configuration and weights that generated them. While no engine is ready, these cannot be compared, and a cached response
is used anyway.

It never fails a request: if Redis or the embedder is unavailable, the lookup is a miss. It does not know HTTP.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from memory.contrast_terms import contrast_terms
from serving.cache.directives import CacheDirectives
from serving.cache.key import digest
from serving.cache.redis_store import Item, ResponseStore
from serving.cache.semantic import ComparedQuestion, SemanticCache, question_of, without_question
from serving.cache.stored_response import StoredResponse
from serving.config.schema import CacheSettings
from serving.protocol.owner import owner_of, owners_of
from serving.protocol.request import GenerationRequest, is_deterministic
from storage.tables import CacheUse

_ANSWER, _ROW = b"a", b"s"  # the first byte of a field: what it holds


@dataclass(frozen=True, slots=True)
class Makers:
    """The engines of a model: the configuration that new requests go to, and each engine's configuration and label.

    `known` is empty while no engine is ready.
    """

    current: str
    known: Collection[tuple[str, str]]

    def could_make(self, answer: StoredResponse) -> bool:
        """Whether the current configuration could have generated the response, as far as is known."""
        return not self.known or (self.current, answer.label) in self.known

    def made(self, answer: StoredResponse) -> bool:
        """Whether the current configuration, and certainly no other, generated the response."""
        return (self.current, answer.label) in self.known and all(one == self.current for one, _ in self.known)


class ResponseCache:
    """The response cache in one gateway worker.

    Args:
        store: the stored responses.
        rules: the settings.
        makers: the engines of a model now.
        semantic: compares questions; None: only identical requests hit.
        new_era: makes unique names.

    """

    def __init__(
        self,
        store: ResponseStore,
        *,
        rules: CacheSettings,
        makers: Callable[[str], Makers],
        semantic: SemanticCache | None,
        new_era: Callable[[], str],
    ) -> None:
        self.store = store
        self.rules = rules
        self.makers = makers
        self.semantic = semantic
        self._new_era = new_era

    def lookup(self, request: GenerationRequest, directives: CacheDirectives) -> "Lookup":
        """The cache operations for one request, whose body includes what memory added."""
        return Lookup(self, request, directives)

    async def forget(self, app: str, user: str | None) -> None:
        """Delete all responses of an application's end user (None: of its requests without one).

        Responses that are being generated are not stored. Raises `serving.resilience.redis.AWAY` if Redis fails.
        """
        await self.store.forget(owner_of(app, user), self._new_era())

    async def forget_app(self, app: str) -> None:
        """Delete all responses of an application; raises like `forget`."""
        await self.store.forget_all(owners_of(app), self._new_era)


class Lookup:
    """The cache operations of one request: `find`, and after a generation `keep`.

    `use` is the result: bypass before a lookup, then hit or miss. `keeps` says whether the response may be stored.
    """

    def __init__(self, cache: ResponseCache, request: GenerationRequest, directives: CacheDirectives) -> None:
        self.use: CacheUse = "bypass"
        self.keeps = False
        self._cache = cache
        self._directives = directives
        self._request = request
        self._exact_ttl_s: float | None = None
        self._question: str | None = None
        self._compared: ComparedQuestion | None = None
        self._owner = ""
        self._era = self._digest = self._row = b""
        if cache.rules.enabled and directives.keeps:
            self._exact_ttl_s = self._ttl_s()
            self._question = self._comparable()
            self.keeps = self._exact_ttl_s is not None or self._question is not None

    async def find(self) -> StoredResponse | None:
        """The cached response, or None."""
        if not self.keeps:
            return None
        cache, request = self._cache, self._request
        self._owner = owner_of(request.app, request.user)
        repeated = None if is_deterministic(request.parsed) else self._directives.idempotency_key
        about = (cache.makers(request.model).current, self._directives.kind, *([repeated] if repeated else []))
        self._digest = digest(request, request.parsed, *about)
        fields = [_ANSWER + self._digest]
        if self._question is not None and cache.semantic is not None:
            terms = contrast_terms(self._question)
            self._row = _ROW + digest(
                request, without_question(request.parsed), *about, cache.semantic.embedder, *terms
            )
            fields.append(self._row)
        found = await cache.store.find(self._owner, fields if self._directives.reads else ())
        if found is None:  # Redis is unavailable
            self.keeps = False
            return None
        self._era = found.era
        if not self._directives.reads:
            return None
        answer = self._usable(found.values[0])
        if answer is None and len(fields) == 2:
            answer = await self._similar(found.values[1])
        self.use = "miss" if answer is None else "hit"
        return answer

    async def keep(self, answer: StoredResponse) -> None:
        """Store a generated response, if it may be stored."""
        cache = self._cache
        rules, semantic = cache.rules, cache.semantic
        if not self.keeps or not answer.is_complete or not cache.makers(self._request.model).made(answer):
            return
        packed = answer.pack()
        if len(packed) > rules.max_answer_bytes:
            return
        ttl_s = self._exact_ttl_s or 0.0
        items = []
        if self._question is not None and semantic is not None:
            self._compared = self._compared or await semantic.read(self._question)
            if self._compared is not None:
                record = self._compared.record(self._digest)
                items.append(Item(self._row, record, rules.semantic.ttl_s, semantic.row_bytes))
                ttl_s = max(ttl_s, rules.semantic.ttl_s)
        if ttl_s:
            items.append(Item(_ANSWER + self._digest, packed, ttl_s))
            await cache.store.keep(self._owner, self._era, items)

    def _ttl_s(self) -> float | None:
        rules = self._cache.rules
        if self._directives.kind is not None:
            return rules.ttl_s[self._directives.kind]
        if self._directives.idempotency_key is not None:
            return rules.deterministic_ttl_s
        return rules.deterministic_ttl_s if is_deterministic(self._request.parsed) else None

    def _comparable(self) -> str | None:
        is_requested = self._directives.mode == "semantic"
        by_default = (
            self._cache.rules.semantic.enabled and self._directives.mode is None and self._request.user is not None
        )
        if self._cache.semantic is None or not (is_requested or by_default):
            return None
        return question_of(self._request, even_personal=is_requested)

    async def _similar(self, row: bytes | None) -> StoredResponse | None:
        """The response to a question with the same meaning; embeds only if there are questions to compare with."""
        semantic, question = self._cache.semantic, self._question
        if row is None or semantic is None or question is None:
            return None
        self._compared = await semantic.read(question)
        nearest = self._compared and semantic.nearest(row, self._compared)
        if not nearest:
            return None
        found = await self._cache.store.find(self._owner, [_ANSWER + nearest])
        return self._usable(found.values[0]) if found else None

    def _usable(self, packed: bytes | None) -> StoredResponse | None:
        if packed is None:
            return None
        answer = StoredResponse.unpack(packed)
        return answer if self._cache.makers(self._request.model).could_make(answer) else None
