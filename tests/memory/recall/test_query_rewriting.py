"""Questions in the voice of those whom they name."""

import pytest

from memory.recall.query_rewriting import Voice, rewrite

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
    assert rewrite(question, PEOPLE).voices == (Voice(text, person),)


@pytest.mark.parametrize(
    "question", ["And what was it?", "Did mel go?", "Who is Me?", "What did the jam taste of?", ""]
)
def test_words_that_are_nobodys_name_name_nobody(question: str) -> None:
    """Words of grammar, small letters and fewer than three letters do not shorten a name."""
    assert rewrite(question, PEOPLE).voices == (Voice(question, None),)


def test_a_shortening_that_fits_two_names_nobody() -> None:
    """An ambiguous name is left as it is."""
    assert rewrite("Where is Mar?", ["Maria", "Mark"]).voices == (Voice("Where is Mar?", None),)


def test_a_name_that_is_a_word_of_grammar_counts_when_written_as_a_name() -> None:
    """Will is somebody, "will" is not."""
    assert rewrite("What did Will say?", ["Will"]).voices == (Voice("What did I say?", "Will"),)
    assert rewrite("What will happen?", ["Will"]).voices == (Voice("What will happen?", None),)


def test_a_question_about_two_is_asked_of_each() -> None:
    """Each voice leaves the other's name as it is; the texts to embed begin with the question itself."""
    query = rewrite("What do Melanie and James share?", PEOPLE)
    assert query.voices == (
        Voice("What do I and James share?", "Melanie"),
        Voice("What do Melanie and I share?", "James"),
    )
    assert query.texts == ("What do Melanie and James share?", *(voice.text for voice in query.voices))


def test_who_asks_is_a_person_too() -> None:
    """A question about oneself is the same as another's question about one, and needs one embedding."""
    query = rewrite("When did I move?", PEOPLE, asker="James")
    assert query.voices == rewrite("When did James move?", PEOPLE).voices
    assert query.texts == ("When did I move?",)


@pytest.mark.parametrize(("question", "asker"), [("What did you tell me?", "James"), ("When did I move?", None)])
def test_nobody_is_preferred_when_it_is_not_clear_whose_words_are_meant(question: str, asker: str | None) -> None:
    """Between two, or with an unknown asker, no person is taken."""
    assert rewrite(question, PEOPLE, asker=asker).voices == (Voice(question, None),)
