"""Finds the items about topics that a person has muted, whenever they were said."""

from collections.abc import Sequence

from memory.intents.matching import Matcher
from memory.language.terms import Terms
from memory.recall.corpus import Corpus
from storage.memory.mutes.topics import NewTopic


def is_same_topic(one: str, other: str) -> bool:
    """Whether two topics have the same words, ignoring stop words."""
    terms = Terms()
    return set(terms(one)) == set(terms(other))


class MutedRows:
    """The rows of a corpus that are about muted topics; each row is examined once."""

    def __init__(self) -> None:
        self._topics: dict[NewTopic, tuple[Matcher, set[int]]] = {}
        self._seen: dict[NewTopic, int] = {}

    def use(self, topics: Sequence[NewTopic]) -> None:
        """Set the topics."""
        keys = [NewTopic(each.about, each.language) for each in topics]
        for gone in self._topics.keys() - set(keys):
            del self._topics[gone], self._seen[gone]
        for key in keys:
            if key not in self._topics:
                self._topics[key] = Matcher(key.about, is_clause=False, language=key.language, names=()), set()
                self._seen[key] = 0

    def of(self, corpus: Corpus) -> set[int]:
        """The rows that are about one of the topics."""
        found: set[int] = set()
        for topic, (matcher, rows) in self._topics.items():
            first = self._seen[topic]
            if first < len(corpus):
                for row in corpus.lexical.rows_for(topic.about, is_name=bool(matcher.names)):
                    if row >= first and matcher.is_meant(corpus.items[row].text, "memory"):
                        rows.add(row)
                self._seen[topic] = len(corpus)
            found |= rows
        return found
