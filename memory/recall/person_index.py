"""One person's data as recall needs it: the corpus, the indexes of its vectors, and the version that they reflect.

It is built from SQL's change feed (`storage.memory.change_feed`) alone, so it can be dropped at any time. A row that is
delivered again changes vectors, validity and marks; changed text requires a new index. Not thread-safe.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np

from memory.intents.topics import MutedRows
from memory.recall.bm25 import Rows
from memory.recall.contested import Claims
from memory.recall.corpus import Corpus, Item
from memory.recall.query_rewriting import RewrittenQuestion
from memory.recall.ranking import DEPTH, Dense, Matrix, Ranked, recall
from memory.recall.relevance import are_relevant, is_about, relevance
from memory.recall.vector_index import VectorIndex
from memory.times.expressions import interval
from memory.times.interval import Interval
from memory.times.past import asks_for_past
from storage.memory.change_feed import CorpusRow
from storage.memory.memories import ANYWHERE, Scope
from storage.memory.mutes.topics import NewTopic
from storage.memory.people import PERSON, Version
from storage.memory.tables import ItemKind

INSTANT = timedelta(microseconds=1)


class PersonIndex:
    """A person's items.

    Args:
        era: of the person's counter.
        dimensions: of a vector.
        model: that makes the vectors; None: not one whose cosines are known (`memory.recall.relevance`).

    """

    def __init__(self, era: str, dimensions: int, model: str | None = None) -> None:
        self.era = era
        self.version = 0
        self.name: str | None = None  # the person's own, by their profile
        self.zone: tzinfo | None = None  # where they are, by their profile or their turns
        self._corpus = Corpus()
        self._indexes = (VectorIndex(dimensions), VectorIndex(dimensions))  # of items alone, and within their windows
        self._numbers: dict[tuple[ItemKind, str], int] = {}
        self._bounded: dict[int, tuple[datetime | None, datetime | None]] = {}
        self._painful_at_s: dict[int, float] = {}
        self._muted: set[int] = set()
        self._sensitive: set[int] = set()
        self._scoped: dict[int, tuple[str | None, str | None]] = {}
        self._claims = Claims()
        self._model = model
        self._silenced = MutedRows()
        self._dimensions = dimensions

    def __contains__(self, item: tuple[ItemKind, str]) -> bool:
        return item in self._numbers

    @property
    def size_bytes(self) -> int:
        """Its approximate size in memory, bytes."""
        return self._corpus.size_bytes + sum(each.size_bytes for each in self._indexes) + 200 * len(self._numbers)

    @property
    def people(self) -> Sequence[str]:
        """The names of all speakers."""
        return self._corpus.people

    @property
    def lacks_vectors(self) -> bool:
        """Whether some item has no vector yet."""
        return any(len(index) < len(self._corpus) for index in self._indexes)

    def can_reach(self, version: Version) -> bool:
        """Whether applying later changes brings this index to `version`; otherwise it must be rebuilt."""
        return self.era == version.era and self.version >= version.rewritten

    def apply(self, rows: Sequence[CorpusRow]) -> None:
        """Apply rows of the change feed."""
        numbers = [self._number(row) for row in rows]
        for number, row in zip(numbers, rows, strict=True):
            self._bounded.pop(number, None)
            if row.valid_from is not None or row.valid_until is not None:
                self._bounded[number] = (row.valid_from, row.valid_until)
            self._painful_at_s.pop(number, None)
            if row.painful_at is not None:
                self._painful_at_s[number] = row.painful_at.timestamp()
            self._muted.discard(number)
            if row.muted:
                self._muted.add(number)
            if row.kind == "memory":
                self._claims.take(number, row.speaker, row.text)
            self._sensitive.discard(number)
            if row.sensitive:
                self._sensitive.add(number)
            self._scoped.pop(number, None)
            if row.persona is not None or row.within is not None:
                self._scoped[number] = (row.persona, row.within)
        singles = [None if row.single is None else row.single + (row.parts or b"") for row in rows]
        windows = [row.window if row.kind == "turn" else row.single for row in rows]  # a memory stands for itself
        for index, vectors in zip(self._indexes, (singles, windows), strict=True):
            found = {number: each for number, each in zip(numbers, vectors, strict=True) if each is not None}
            matrix = np.frombuffer(b"".join(found.values()), dtype="<f4").reshape(-1, self._dimensions)
            counts = [len(each) // (4 * self._dimensions) for each in found.values()]
            index.put(np.repeat(list(found), counts).tolist(), matrix)

    def recall(
        self,
        query: RewrittenQuestion,
        vectors: Matrix | None,
        *,
        now: datetime,
        limit: int,
        min_relevance: float = 0.0,
        scope: Scope = ANYWHERE,
        only: Collection[tuple[ItemKind, str]] | None = None,
        zone: tzinfo | None = None,
    ) -> list[Ranked]:
        """The best items for a question, among those valid at the time that it names (`now`, if it names none).

        Without `vectors` it uses words only. Muted items are left out, and memories that belong elsewhere than in
        `scope`. With `min_relevance`, nothing is found unless something is at least so probably relevant or the
        question names somebody, and of sensitive items only those that it is about. With `only`, nothing else than
        these items is found. A memory that another contradicts comes with that one, even beyond `limit`. Days begin at
        midnight in `zone`, else where the person is by their profile, else by their turns.
        """
        dense = Dense(*self._indexes)
        self._corpus.own_names = frozenset((PERSON, self.name or PERSON))
        now = now.astimezone(zone or self.zone or now.tzinfo)
        if vectors is None:
            dense, vectors = Dense(_Blind(), _Blind()), np.zeros((len(query.texts), 1), dtype=np.float32)
        time = interval(query.question, now)
        if time is None:
            begins = datetime.min.replace(tzinfo=UTC) if asks_for_past(query.question) else now
            time = Interval(begins, now + INSTANT)
        without = self._muted | self._silenced.of(self._corpus) | self._not_holding(time)
        without |= {number for number, belongs in self._scoped.items() if not scope.admits(*belongs)}
        limit_before, named = limit + len(without) + len(self._sensitive), DEPTH
        if only is not None:
            without |= {number for key, number in self._numbers.items() if key not in only}
            limit_before = named = len(self._corpus)
        ranked = recall(
            self._corpus,
            dense,
            query,
            vectors,
            now=now,
            limit=limit_before,
            painful_at_s=self._painful_at_s,
            depth=named,
        )
        found = [
            replace(each, relevance=relevance(each.evidence, self._model), part=self._part_of(each, vectors))
            for each in ranked
            if self._number_of(each) not in without
        ]
        if min_relevance:
            found = self._without_sensitive(found)
            if not query.names_somebody and not are_relevant((each.relevance for each in found), min_relevance):
                return []
        return self._with_rivals(found[:limit], without, self._not_holding(Interval(now, now + INSTANT)))

    def holding(
        self, text: str, is_meant: Callable[[Item], bool], *, is_name: bool = False
    ) -> list[tuple[ItemKind, str]]:
        """The items with every term of `text` that `is_meant`, newest first; muted ones and past ones, too.

        If `text` `is_name` that is also a stop word, it has no term: then all items are examined.
        """
        items, rows = self._corpus.items, self._corpus.lexical.rows_for(text, is_name=is_name)
        found = [items[row] for row in rows if is_meant(items[row])]
        return [(each.kind, each.id) for each in sorted(found, key=lambda each: each.at, reverse=True)]

    def mute(self, topics: Sequence[NewTopic]) -> None:
        """Set the muted topics."""
        self._silenced.use(topics)

    def silenced_memories(self, ids: Collection[str]) -> set[str]:
        """Those of these memories that are about a muted topic."""
        silenced = self._silenced.of(self._corpus)
        return {id_ for id_ in ids if self._numbers.get(("memory", id_)) in silenced}

    def everything(self) -> list[tuple[ItemKind, str]]:
        """All items."""
        return list(self._numbers)

    def echoes(self, text: str, going: Collection[tuple[ItemKind, str]], person: Collection[str]) -> list[str]:
        """The turns that would still reveal the items in `going`, which `text` names; newest first.

        They are turns of others, not of the speakers in `person` (case folded): turns with a term of `text` that
        occurs, among the person's own turns, only in `going`; and replies to `going` that repeat a term of it.
        """
        items, lexical = self._corpus.items, self._corpus.lexical
        gone = {self._numbers[each] for each in going if each in self._numbers}

        def others(rows: Iterable[int]) -> set[int]:
            return {row for row in rows if (items[row].speaker or "").casefold() not in {*person, ""}}

        found: set[int] = set()
        for rows, _ in lexical.by_term(text):
            telling = others(rows.tolist())
            if gone.issuperset(set(rows.tolist()) - telling):
                found |= telling
        _, after = self._corpus.links()
        for row in gone:
            for rows, _ in lexical.by_term(items[row].text):
                found |= others({int(after[row])} & set(rows.tolist()))
        echoing = [items[row] for row in found - gone if items[row].kind == "turn"]
        return [each.id for each in sorted(echoing, key=lambda each: each.at, reverse=True)]

    def _with_rivals(self, found: Sequence[Ranked], without: Collection[int], ended: Collection[int]) -> list[Ranked]:
        """Each result, followed by memories that say otherwise and are not among them; one that `ended` has none."""
        shown = {self._number_of(each) for each in found}
        results: list[Ranked] = []
        for each in found:
            number = self._number_of(each)
            rivals = [] if number in ended else self._claims.rivals(number, self.name)
            rivals = [row for row in rivals if row not in without and row not in ended]
            items = [self._corpus.items[row] for row in rivals]
            results.append(replace(each, contested_by=tuple(item.id for item in items)) if items else each)
            for row, item in zip(rivals, items, strict=True):
                if row not in shown:
                    shown.add(row)
                    results.append(replace(each, item=item, by_ranker={}, part=None, contested_by=(each.item.id,)))
        return results

    def _without_sensitive(self, found: Sequence[Ranked]) -> list[Ranked]:
        """Without sensitive items that the question is only near to."""
        return [
            each
            for each in found
            if self._number_of(each) not in self._sensitive or is_about(each.evidence, each.relevance)
        ]

    def _part_of(self, found: Ranked, vectors: Matrix) -> int | None:
        """The nearest part of a long text; None if that is its beginning, or if no vector tells."""
        nearest = self._indexes[0].nearest_part(vectors, self._number_of(found)) if vectors.shape[1] > 1 else None
        return nearest - 1 if nearest else None

    def _number_of(self, found: Ranked) -> int:
        return self._numbers[found.item.kind, found.item.id]

    def _number(self, row: CorpusRow) -> int:
        key = (row.kind, row.id)
        if key not in self._numbers:
            item = Item(row.id, row.kind, row.text, row.at, speaker=row.speaker, conversation=row.conversation)
            self._numbers[key] = self._corpus.add(item)
        return self._numbers[key]

    def _not_holding(self, time: Interval) -> set[int]:
        """The items that are valid at no moment of `time`."""
        return {
            number
            for number, (begins, ends) in self._bounded.items()
            if (begins is not None and begins >= time.end) or (ends is not None and ends <= time.start)
        }


class _Blind:
    """An index that finds nothing, for when there is no vector to search with."""

    def search(self, queries: Matrix, depth: int, /) -> tuple[Matrix, Rows]:
        shape = (len(queries), depth)
        return np.zeros(shape, dtype=np.float32), np.full(shape, -1, dtype=np.int64)
