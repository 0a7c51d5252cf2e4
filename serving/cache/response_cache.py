"""The cache of answers: what may be looked for, what is found, what is kept.

Exactly the same request is answered from it when nothing in it is left to chance, or when it says what kind of answer
it wants (`serving.cache.directives`). A chat's question that means the same as one before may be as well, for a shorter
time (`serving.cache.semantic`). Everything is an application's and its end user's own. Answers outlive neither the
configuration nor the weights that made them: a new model answers for itself. While no engine can answer, nobody knows
better, and a kept answer serves.

It never fails a request: with Redis or the embedder away, nothing is found. It does not know HTTP.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from memory.contrast_terms import pivots
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
    """Who answers for a model: the configuration that requests go to, and each maker's configuration and label.

    `known` is empty while nobody can answer.
    """

    wanted: str
    known: Collection[tuple[str, str]]

    def could_make(self, answer: StoredResponse) -> bool:
        """Whether it would be made like this now, as far as is known."""
        return not self.known or (self.wanted, answer.label) in self.known

    def made(self, answer: StoredResponse) -> bool:
        """Whether it was made by the configuration that is wanted, and surely by no other."""
        return (self.wanted, answer.label) in self.known and all(one == self.wanted for one, _ in self.known)


class ResponseCache:
    """One gateway worker's view of the cache.

    Args:
        store: where answers are.
        rules: what is kept for how long.
        makers: who answers for a model now.
        semantic: compares questions; None: only the same request has the same answer.
        new_era: makes names that never repeat.

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

    def lookup(self, call: GenerationRequest, wish: CacheDirectives) -> "Lookup":
        """What can be done for one request, with all that its model is told."""
        return Lookup(self, call, wish)

    async def forget(self, app: str, user: str | None) -> None:
        """Delete all answers of an application's end user (None: of its requests without one).

        What is being answered meanwhile is not kept. Raises `serving.resilience.redis.AWAY` when Redis does not do it.
        """
        await self.store.forget(owner_of(app, user), self._new_era())

    async def forget_app(self, app: str) -> None:
        """Delete all answers of an application. Raises as `forget`."""
        await self.store.forget_all(owners_of(app), self._new_era)

    async def run(self) -> None:
        """Watch Redis until cancelled."""
        await self.store.run()


class Lookup:
    """One request and the cache: `find`, and after the answer `keep`.

    `use` says what became of it: bypass until it is looked for, then hit or miss. `keeps` whether an answer is wanted.
    """

    def __init__(self, cache: ResponseCache, call: GenerationRequest, wish: CacheDirectives) -> None:
        self.use: CacheUse = "bypass"
        self.keeps = False
        self._cache = cache
        self._wish = wish
        self._call = call
        self._exact_ttl_s: float | None = None
        self._question: str | None = None
        self._asked: ComparedQuestion | None = None
        self._owner = ""
        self._era = self._digest = self._row = b""
        if cache.rules.enabled and wish.keeps:
            self._exact_ttl_s = self._ttl_s()
            self._question = self._comparable()
            self.keeps = self._exact_ttl_s is not None or self._question is not None

    async def find(self) -> StoredResponse | None:
        """The kept answer, if there is one that may serve."""
        if not self.keeps:
            return None
        cache, call = self._cache, self._call
        self._owner = owner_of(call.app, call.user)
        about = (cache.makers(call.model).wanted, self._wish.kind)
        self._digest = digest(call, call.parsed, *about)
        fields = [_ANSWER + self._digest]
        if self._question is not None and cache.semantic is not None:
            turns = pivots(self._question)
            self._row = _ROW + digest(call, without_question(call.parsed), *about, cache.semantic.embedder, *turns)
            fields.append(self._row)
        found = await cache.store.find(self._owner, fields if self._wish.reads else ())
        if found is None:  # Redis is away
            self.keeps = False
            return None
        self._era = found.era
        if not self._wish.reads:
            return None
        answer = self._usable(found.values[0])
        if answer is None and len(fields) == 2:
            answer = await self._similar(found.values[1])
        self.use = "miss" if answer is None else "hit"
        return answer

    async def keep(self, answer: StoredResponse) -> None:
        """Keep what was generated for the request, if it may be kept."""
        cache = self._cache
        rules, semantic = cache.rules, cache.semantic
        if not self.keeps or not answer.is_complete or not cache.makers(self._call.model).made(answer):
            return
        packed = answer.pack()
        if len(packed) > rules.max_answer_bytes:
            return
        ttl_s = self._exact_ttl_s or 0.0
        items = []
        if self._question is not None and semantic is not None:
            self._asked = self._asked or await semantic.read(self._question)
            if self._asked is not None:
                record = self._asked.record(self._digest)
                items.append(Item(self._row, record, rules.semantic.ttl_s, semantic.row_bytes))
                ttl_s = max(ttl_s, rules.semantic.ttl_s)
        if ttl_s:
            items.append(Item(_ANSWER + self._digest, packed, ttl_s))
            await cache.store.keep(self._owner, self._era, items)

    def _ttl_s(self) -> float | None:
        rules = self._cache.rules
        if self._wish.kind is not None:
            return rules.ttl_s[self._wish.kind]
        return rules.deterministic_ttl_s if is_deterministic(self._call.parsed) else None

    def _comparable(self) -> str | None:
        asked = self._wish.mode == "semantic"
        by_default = self._cache.rules.semantic.enabled and self._wish.mode is None and self._call.user is not None
        if self._cache.semantic is None or not (asked or by_default):
            return None
        return question_of(self._call, even_personal=asked)

    async def _similar(self, row: bytes | None) -> StoredResponse | None:
        """The answer to a question that means the same; embeds only if there is one to compare with."""
        semantic, question = self._cache.semantic, self._question
        if row is None or semantic is None or question is None:
            return None
        self._asked = await semantic.read(question)
        nearest = self._asked and semantic.nearest(row, self._asked)
        if not nearest:
            return None
        found = await self._cache.store.find(self._owner, [_ANSWER + nearest])
        return self._usable(found.values[0]) if found else None

    def _usable(self, packed: bytes | None) -> StoredResponse | None:
        if packed is None:
            return None
        answer = StoredResponse.unpack(packed)
        return answer if self._cache.makers(self._call.model).could_make(answer) else None
