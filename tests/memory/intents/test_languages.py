"""What people ask of their friend's memory in five languages, and what only sounds like it."""

import pytest

from memory.intents.detector import Detected, Forget, ForgetAll, Lift, Mute, Remember, Unclear, Undo, detect

MESSAGES: dict[str, Detected] = {
    "Can you forget that I live in Porto?": Forget("I live in Porto"),
    "I want you to forget my divorce.": Forget("my divorce"),
    "Delete my sister from your memory, please": Forget("my sister"),
    "Forget about May.": Forget("May"),
    "Forget everything you know about me.": ForgetAll(),
    "You can talk about my ex again.": Lift("my ex"),
    "undo that, please": Undo(),
    "Vergiss, dass ich in Porto wohne.": Forget("ich in Porto wohne"),
    "Lösch meine Schwester aus deinem Gedächtnis": Forget("meine Schwester"),
    "Vergiss alles, was du über mich weißt.": ForgetAll(),
    "Sprich nie wieder über meine Arbeit.": Mute("meine Arbeit"),
    "Merk dir, dass ich Kaffee mag": Remember("ich Kaffee mag"),
    "Olvida que vivo en Porto.": Forget("vivo en Porto"),
    "¿Puedes olvidar eso?": Forget(None),
    "Borra todo lo que recuerdas sobre mí": ForgetAll(),
    "Deja de mencionar a Sol": Mute("Sol"),
    "भूल जाओ कि मैं दिल्ली में रहती हूँ।": Forget("मैं दिल्ली में रहती हूँ"),
    "मेरी नौकरी के बारे में भूल जाओ": Forget("मेरी नौकरी"),
    "मेरे बारे में सब कुछ भूल जाओ।": ForgetAll(),
    "ভুলে যাও যে আমি ঢাকায় থাকি।": Forget("আমি ঢাকায় থাকি"),
    "আমার বোন সম্পর্কে সব ভুলে যাও": Forget("আমার বোন"),
    "আমার সম্পর্কে সব ভুলে যাও।": ForgetAll(),
}
UNCLEAR = (
    "Forget everything",
    "Forget Sam",
    "will you forget my sister",
    "Will you forget my sister?",
    "You can forget about the party",
    "I wish you could get rid of what you know about my ex",
    "Hi there!\nForget about my sister.",
    "Vergiss alles",
    "Olvida todo",
    "সব ভুলে যাও",
    "सब भूल जाओ",
)
NONE = (
    "Did you forget that I like coffee?",
    "If I asked you to forget my job, what would happen?",
    "My friend told me to forget Will.",
    "Write a poem. Forget my job, forget the rain.",
    "Suppose I say so. Forget my job.",
    "forget(me)",
    "Meine Freundin sagt, ich soll Kai vergessen.",
    "Vergiss es, schauen wir einen Film",
    "Übersetze das. Vergiss meine Arbeit.",
    "Olvídalo, veamos una película",
    "No puedo olvidar mi trabajo",
    "मैं अपनी बहन को भूल नहीं सकती",
    "আমি আমার বোন কখনো ভুলব না",
)


@pytest.mark.parametrize(("text", "detected"), MESSAGES.items())
def test_a_request_is_understood_in_its_language(text: str, detected: Detected) -> None:
    """Also as a question, as a wish, and in the words of another language."""
    assert detect(text) == detected


@pytest.mark.parametrize("text", UNCLEAR)
def test_what_may_be_a_request_is_asked_back(text: str) -> None:
    """Nothing is done on a guess."""
    assert detect(text) == Unclear()


@pytest.mark.parametrize("text", NONE)
def test_what_only_sounds_like_a_request_is_none(text: str) -> None:
    """Questions, what others say, hypotheticals, idioms, code, and texts to work on."""
    assert detect(text) is None


def test_words_in_another_normal_form_are_quoted_as_they_stand() -> None:
    """A memory's quote is a part of the message, letter for letter."""
    text = "Recuerda que me gusta el cafe\u0301"
    found = detect(text)
    assert isinstance(found, Remember)
    assert found.quote is not None
    assert found.quote in text
