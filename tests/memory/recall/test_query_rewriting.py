"""Questions in the phrasing of those whom they name."""

import pytest

from memory.recall.query_rewriting import Phrasing, rewrite

PEOPLE = ("Melanie", "Andrew Park", "James")


@pytest.mark.parametrize(
    ("question", "text", "person"),
    [
        ("When did Melanie move?", "When did I move?", "Melanie"),
        ("What do Melanie's kids like?", "What do my kids like?", "Melanie"),
        ("What is James' job?", "What is my job?", "James"),
        ("Where was melanie\u2019s picnic?", "Where was my picnic?", "Melanie"),
        ("Where did Mel go?", "Where did I go?", "Melanie"),
        ("Did Andrew win?", "Did I win?", "Andrew Park"),
    ],
)
def test_a_person_speaks_in_the_first_person(question: str, text: str, person: str) -> None:
    """A question about one speaker is put as the speaker would, by full or shortened name."""
    assert rewrite(question, PEOPLE).phrasings == (Phrasing(text, person),)


@pytest.mark.parametrize(
    "question", ["And what was it?", "Did mel go?", "Who is Me?", "What did the jam taste of?", ""]
)
def test_words_that_are_nobodys_name_name_nobody(question: str) -> None:
    """Words of grammar, small letters and fewer than three letters do not shorten a name."""
    assert rewrite(question, PEOPLE).phrasings == (Phrasing(question, None),)


def test_a_shortening_that_fits_two_names_nobody() -> None:
    """An ambiguous name is left as it is."""
    assert rewrite("Where is Mar?", ["Maria", "Mark"]).phrasings == (Phrasing("Where is Mar?", None),)


def test_a_name_that_is_a_word_of_grammar_counts_when_written_as_a_name() -> None:
    """Will is somebody, "will" is not."""
    assert rewrite("What did Will say?", ["Will"]).phrasings == (Phrasing("What did I say?", "Will"),)
    assert rewrite("What will happen?", ["Will"]).phrasings == (Phrasing("What will happen?", None),)


def test_a_question_about_two_people_is_rewritten_for_each() -> None:
    """Each phrasing leaves the other's name as it is; the texts to embed begin with the question itself."""
    query = rewrite("What do Melanie and James share?", PEOPLE)
    assert query.phrasings == (
        Phrasing("What do I and James share?", "Melanie"),
        Phrasing("What do Melanie and I share?", "James"),
    )
    assert query.texts == ("What do Melanie and James share?", *(phrasing.text for phrasing in query.phrasings))


def test_who_asks_is_a_person_too() -> None:
    """A question about oneself is the same as another's question about one, and needs one embedding."""
    query = rewrite("When did I move?", PEOPLE, speaker="James")
    assert query.phrasings == rewrite("When did James move?", PEOPLE).phrasings
    assert query.texts == ("When did I move?",)


@pytest.mark.parametrize(("question", "speaker"), [("What did you tell me?", "James"), ("When did I move?", None)])
def test_nobody_is_preferred_when_it_is_not_clear_whose_words_are_meant(question: str, speaker: str | None) -> None:
    """Between two, or with an unknown speaker, no person is taken."""
    assert rewrite(question, PEOPLE, speaker=speaker).phrasings == (Phrasing(question, None),)
