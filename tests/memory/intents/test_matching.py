"""A text is meant if it says what was named of the same person, and does not deny it."""

import pytest

from memory.intents.matching import Matcher, Source


@pytest.mark.parametrize(
    ("about", "language", "meant", "others"),
    [
        (
            "I like coffee",
            "en",
            ["I like coffee a lot", "Coffee is what I like"],
            ["My sister likes coffee", "I no longer like coffee", "Sam likes coffee", "I think my sister likes coffee"],
        ),
        ("I don't like coffee", "en", ["I don't like coffee at all"], ["I like coffee"]),
        ("ich Kaffee mag", "de", ["Ich mag Kaffee sehr"], ["Meine Schwester mag Kaffee", "Ich mag keinen Kaffee"]),
        (
            "me gusta el café",
            "es",
            ["Me gusta mucho el café"],
            ["A mi hermana le gusta el café", "Ya no me gusta el café"],
        ),
        ("मुझे कॉफ़ी पसंद है", "hi", ["मुझे कॉफी बहुत पसंद है"], ["मेरी बहन को कॉफ़ी पसंद है", "मुझे कॉफ़ी पसंद नहीं है"]),
        ("আমি কফি পছন্দ করি", "bn", ["আমি কফি খুব পছন্দ করি"], ["আমার বোন কফি পছন্দ করি", "আমি কফি পছন্দ করি না"]),
    ],
)
def test_a_statement_is_found_of_the_same_person_only(
    about: str, language: str, meant: list[str], others: list[str]
) -> None:
    """Neither of a relative, nor where it is denied."""
    matcher = Matcher(about, is_clause=True, language=language, names=["ann"])
    assert [text for text in [*meant, *others] if matcher.is_meant(text, "own")] == meant


@pytest.mark.parametrize(
    ("text", "source", "is_meant"),
    [
        ("You like coffee, I know", "other", True),
        ("I like coffee", "other", False),
        ("Likes coffee", "memory", True),
        ("Ann likes coffee", "memory", True),
        ("She likes coffee", "memory", True),
        ("Her sister likes coffee", "memory", False),
        ("Ben likes coffee", "memory", False),
    ],
)
def test_whose_words_they_are_counts(text: str, source: Source, *, is_meant: bool) -> None:
    """The friend says "you" of the person, a memory "she", or the name."""
    matcher = Matcher("I like coffee", is_clause=True, language="en", names=["Ann"])
    assert matcher.is_meant(text, source) is is_meant


@pytest.mark.parametrize(
    ("about", "language", "meant", "others"),
    [
        ("Will", "en", ["Will called me", "I saw Will's car"], ["I will call", "Will you call?"]),
        ("May", "en", ["I had lunch with May"], ["It may rain", "We met in May", "May I come?", "On May 3 we met"]),
        ("my rose", "en", ["My rose died"], ["I met my Rose"]),
        ("my job", "en", ["My job is dull"], ["Her job is dull", "My sister's job is dull"]),
        ("mi hermana", "es", ["Mi hermana vino", "Vi a mis hermanas"], ["Mi hermano vino"]),
        ("mi papá", "es", ["Mi papá canta"], ["Me gusta la papa"]),
        ("আম্মা", "bn", ["আম্মা ভালো আছেন"], ["আম খাই"]),
    ],
)
def test_a_name_is_not_the_word_that_is_written_alike(
    about: str, language: str, meant: list[str], others: list[str]
) -> None:
    """Nor is a thing somebody else's, a sister a brother, or a word its pieces."""
    matcher = Matcher(about, is_clause=False, language=language, names=[])
    assert [text for text in [*meant, *others] if matcher.is_meant(text, "own")] == meant
