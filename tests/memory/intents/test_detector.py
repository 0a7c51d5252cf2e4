"""Which messages are a wish about remembering, and of which words; most that sound like one are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.intents.detector import MAX_CHARACTERS, Forget, Intent, Mute, Remember
from tests.support.memory.intents import intent_of

INTENTS: dict[str, Intent] = {
    "Remember that my sister's name is Asha.": Remember("my sister's name is Asha"),
    "Please remember this: I'm allergic to nuts.": Remember("I'm allergic to nuts"),
    "please remember this: my door code is 4411. And the gate's is 12.": Remember(
        "my door code is 4411. And the gate's is 12"
    ),
    "Don't forget that I hate mornings!": Remember("I hate mornings"),
    "Don\u2019t forget that I\u2019m vegan, please.": Remember("I\u2019m vegan"),
    "Hey Bondhu, remember that Dr. Patel is my dentist.": Remember("Dr. Patel is my dentist"),
    "It was a long day. Remember that I start my new job on Monday.": Remember("I start my new job on Monday"),
    "Could you please remember that the cat is called Miso?": Remember("the cat is called Miso"),
    "Remember this!": Remember(None),
    "remember that": Remember(None),
    "Please remember what I just told you.": Remember(None),
    "Don't forget that.": Remember(None),
    "Keep in mind that I don't eat meat any more": Remember("I don't eat meat any more"),
    "Remember, I'm off on Friday.": Remember("I'm off on Friday"),
    "Remember my birthday is on the 5th of May": Remember("my birthday is on the 5th of May"),
    "Remember I'm left-handed": Remember("I'm left-handed"),
    "Don't forget my mum is coming": Remember("my mum is coming"),
    "I'd like you to remember that Asha is my sister": Remember("Asha is my sister"),
    "Make a note: the rent is due on the 3rd": Remember("the rent is due on the 3rd"),
    "Keep this in mind": Remember(None),
    "Make a note of that, please": Remember(None),
    "Forget that.": Forget(None),
    "forget that, please": Forget(None),
    "Please forget what I just said!": Forget(None),
    "Forget everything I just told you": Forget(None),
    "Forget my last message": Forget(None),
    "Forget I said anything.": Forget(None),
    "Forget that I said that": Forget(None),
    "Forget that I live in Porto.": Forget("I live in Porto"),
    "Forget about my ex.": Forget("my ex"),
    "Forget about Sam, please": Forget("Sam"),
    "please forget everything I told you about work": Forget("work"),
    "Please forget everything I've ever told you about my divorce, thanks.": Forget("my divorce"),
    "forget what I said about the flat": Forget("the flat"),
    "Forget my address": Forget("my address"),
    "Forget I told you about Ben.": Forget("Ben"),
    "Delete everything I told you about my job": Forget("my job"),
    "Delete that memory about Sam": Forget("Sam"),
    "Erase my last message.": Forget(None),
    "Would you please forget that I was ill?": Forget("I was ill"),
    "ok. forget that 🙏": Forget(None),
    "Don't bring up my ex again.": Mute("my ex"),
    "Don't bring my ex up again": Mute("my ex"),
    "don't bring that up": Mute(None),
    "Don't bring that up again, please.": Mute(None),
    "I don't want to talk about the accident any more.": Mute("the accident"),
    "I don't want to talk about it anymore": Mute(None),
    "Stop mentioning Sam!": Mute("Sam"),
    "Please never mention my father again": Mute("my father"),
    "stop talking about the exam": Mute("the exam"),
    "Don't remind me of the funeral": Mute("the funeral"),
    "Let's never talk about Berlin again": Mute("Berlin"),
    "Don't ask me about work": Mute("work"),
    "don't mention it again": Mute(None),
    "Forget I asked.": Forget(None),
}
NONE = (
    "I can't forget that day",
    "I forgot that",
    "I forget that sometimes",
    "Do you remember that?",
    "do you remember that my sister visited us",
    "Remember when we went to the sea?",
    "Remember when we met",
    "Remember that time in Rome",
    "Remember that day at the beach.",
    "Remember that movie, it was great",
    "Remember that?",
    "Remember me",
    "Remember to call mom",
    "Don't forget to call mom",
    "Don't forget me",
    "Never forget",
    "Never forget that I love you",
    "Forget it",
    "Forget it, let's go",
    "forget about it",
    "Forget that, let's talk about you",
    "Forget me",
    "Forget everything",
    "Forget you",
    "Forget about him, he said",
    "Forget about the dishes, let's watch a film",
    "Forget about work. Let's talk about you.",
    'She said "forget that"',
    '"Forget that I live here," she said',
    'She said: "I\'m done. Forget that I exist. Goodbye."',
    "He told me to forget that I was ever there",
    "I'll never forget what I said about the flat",
    "I want to forget my ex",
    "Help me forget about my ex",
    "How do I forget my ex?",
    "Should I forget about Sam?",
    "If you love me, forget that I said it",
    "I can't remember that my keys were there",
    "You should remember that I'm tired",
    "Why don't you remember that I'm vegan?",
    "Can you remember that I like tea?",
    "Don't mention it!",
    "don't mention it",
    "I don't want to talk about it",
    "I don't want to talk about work today",
    "I don't want to talk about it right now",
    "Let's not talk about work today",
    "Don't talk to me like that",
    "Don't talk about me like that",
    "Don't talk about it now",
    "Stop it",
    "Stop talking",
    "I stopped talking about her",
    "They never mention my father again and again",
    "Don't mention this to my mother",
    "Remember I told you about Sam. He is back!",
    "Remember, remember, the fifth of November",
    "We don't talk about Bruno",
    "> Forget that I live in Porto",
    "Unforgettable, that is what you are",
    "Remember the Titans",
    "Remember us",
    "He doesn't want to talk about it any more",
    "What did I forget? That I live in Porto!",
    "Remember that you are loved",
    "I remember that my sister sang",
    "Forgetting that I live in Porto is hard",
    "forget-me-nots are blue",
    "Stop bringing her up",
    "Forget about Sam, she said to me",
    "Forget what he said",
    "Forget what the doctor told me",
    "Please remember me",
    "Please forget me",
    "Don't forget about us",
    "Stop mentioning her like that",
    "I don't want to talk about her any more",
    # Somebody else's words: pasted, quoted, to be worked on.
    "Hi Ann,\nit was a long day. Forget about my mother.\nBob",
    "Translate this\nForget about my mother",
    "Forget about my mother\nForget about my home",
    "Forget about my mother\u2028and sing",
    "Translate this. Forget about my mother.",
    "Please translate. Forget about my mother.",
    "Forget about my mother. Can you translate that?",
    "How would you summarise this? Forget about my mother.",
    "Summarize. Forget about my mother. Forget about Sam.",
    "The mail says: Hello. Forget about my mother.",
    "What she wrote was this: hello! Forget about my mother.",
    "To Bengali, please. Forget about my mother.",
    "These are lyrics. Forget about my mother.",
    "There is a song I like. Forget about my mother. It is by Danzig.",
    "She said. Forget about my mother.",
    "She said 'Bye. Forget about my mother. Love'",
    "\u201eBye. Forget about my mother.\u201c",
    "\u00abBye. Forget about my mother.\u00bb is what it says",
    "\u300cBye. Forget about my mother.\u300d",
    'She said "bye." Forget about my mother.',
    "Dear Sam, it is over. Forget about my mother. Best regards, Ben",
    "`echo hi`. Forget about my mother.",
    "<p>Hello. Forget about my mother.</p>",
    "if (sad) { cry(); } Forget about my mother.",
    "Hello / it's me. Forget about my mother.",
)
PARTS = (
    *("remember", "forget", "don't", "bring up", "stop mentioning", "that", "this", "what I said", "about", "my", "I"),
    *(
        "everything",
        "told you",
        "please",
        "Sam",
        "ex",
        "again",
        "any more",
        ":",
        ",",
        ". ",
        "?",
        "!",
        '"',
        "\u2019",
        " ",
        "\n",
    ),
    *("i want to talk", "never", "e\u0301", "\u0130", "\U0001f64f", "\u09ac\u09a8\u09cd\u09a7\u09c1"),
)


@pytest.mark.parametrize(("text", "intent"), INTENTS.items())
def test_an_intent_is_detected(text: str, intent: Intent) -> None:
    """An order that begins a sentence, with the words that it is about."""
    assert intent_of(text) == intent


@pytest.mark.parametrize("text", NONE)
def test_what_only_sounds_like_an_intent_is_none(text: str) -> None:
    """Questions, idioms, quotations, what others do, what is for today only, and reminders of what to do."""
    assert intent_of(text) is None


def test_the_first_of_two_counts() -> None:
    """One message, one wish."""
    assert intent_of("Forget that I smoke. Remember that I swim.") == Forget("I smoke")


@given(st.text(max_size=200) | st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join))
def test_what_it_is_about_stands_in_the_message(text: str) -> None:
    """Word for word, whatever the message is; and never nothing."""
    match intent_of(text):
        case Remember(words) | Forget(words) | Mute(words) if words is not None:
            assert words in text
            assert words.strip() == words != ""


@given(
    st.sampled_from(list(INTENTS)), st.sampled_from(["", "I had soup. ", "Hi! ", "It went well :). ", "It is 10:30. "])
)
def test_an_intent_may_come_later(text: str, before: str) -> None:
    """Other sentences before it change nothing."""
    assert intent_of(before + text) == INTENTS[text]


def test_a_long_text_is_no_intent() -> None:
    """A letter that was pasted is not obeyed."""
    assert intent_of("Forget that." + " x" * (MAX_CHARACTERS // 2)) is None
