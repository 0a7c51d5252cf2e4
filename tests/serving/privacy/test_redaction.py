"""What is found to be private in a conversation, and what of it is left when that must stay."""

from typing import Any

import pytest

from serving.errors import InvalidRequest
from serving.privacy.detector import MAX_CHARACTERS, detector
from serving.privacy.markers import check_marks, without_marks
from serving.privacy.redaction import Redacted, redact

Message = dict[str, Any]

DETECT = detector({"health": ("krebs*",), "faith": ("my rabbi",)})
MEMORY = {"bondhu": {"private": "memory"}}
SENSITIVE = {"bondhu": {"private": "sensitive"}}
SYSTEM: Message = {"role": "system", "content": "You are a friend. Take talk of suicide seriously."}
HELLO: Message = {"role": "user", "content": "What shall we cook?"}


def made_message(role: str, content: Any, **fields: Any) -> Message:
    """A message."""
    return {"role": role, "content": content, **fields}


def called(call_id: str, arguments: str = "{}", **fields: Any) -> Message:
    """An assistant's message that calls a tool."""
    function = {"name": "look", "arguments": arguments}
    return made_message(
        "assistant", None, tool_calls=[{"id": call_id, "type": "function", "function": function}], **fields
    )


def result(call_id: str, text: str = "found", **fields: Any) -> Message:
    """A tool's result."""
    return made_message("tool", text, tool_call_id=call_id, **fields)


def redacted(*messages: Message) -> Redacted:
    """What may leave of them without consent for private content."""
    return redact(list(messages), DETECT, allow_sensitive=False)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("I want to kill myself", {"self_harm"}),
        ("I don\u2019t want to  live", {"self_harm"}),
        ("cut\u200bting myself, SELF-HARM, selfharm", {"self_harm"}),
        ("my DOCTOR says it is leukaemia", {"health"}),
        ("Es ist Krebs", {"health"}),
        ("I asked my rabbi", {"faith"}),
        ("I think I'm gay", {"sexuality"}),
        ("he hits me", {"abuse"}),
        ("my passport is lost", {"identity"}),
        ("SSN 078-05-1120", {"identity", "contact"}),
        ("pay to DE89 3704 0044 0532 0130 00", {"identity", "contact"}),
        ("the password is hunter2", {"secret"}),
        ("use sk-abcdefghijklmnopqrst", {"secret"}),
        ("4111 1111 1111 1111", {"card", "contact"}),
        ("order 12, card 4111-1111-1111-1111, thanks", {"card", "contact"}),
        ("write to maya@example.org", {"contact"}),
        ("call +49 170 1234567", {"contact"}),
        *(
            (f"call me at {number} tonight", {"contact"})
            for number in ("34 41 23 45", "8123 4567", "6123-4567", "71 123 456", "500 12345", "7 1123456", "57123456")
        ),
        *(
            (f"it is {number}, you know", {"identity"})
            for number in (
                "54362315-K",
                "x-2482300w",
                "ACUPA7085R",
                "WKH1186253",
                "BOXW310820HNERXN09",
                "VACE-460910-SX6",
            )
        ),
        *(
            (f"it is {number}, you know", {"identity"})
            for number in ("RCCMNL83S18D969H", "710319/2745", "253072B07300470", "QQ 12 34 56 C", "3171011708450001")
        ),
        ("x" * (MAX_CHARACTERS + 1), {"unread"}),
    ],
)
def test_private_things_are_found(text: str, classes: set[str]) -> None:
    """Each class by its words or its shape, however it is written."""
    assert classes <= DETECT(text)


@pytest.mark.parametrize(
    "text",
    [
        "What shall we cook tonight?",
        "Hello! I am Maya, and I live in Lyon with my cat.",
        "It was on 2026-11-24 10:30:00, the 3rd time in 14 days.",
        "I have 1000000 reasons; version 3.11.2 has 7 of 12.",
        "From 2019-2020 to 2021 2022, on 12.04.2024 and 20240131, and 12000000 grains of rice for 1,250.00 euros.",
        "essex, shipped, therefore, stilton, transport",
        "",
    ],
)
def test_small_talk_is_not_private(text: str) -> None:
    """Words within words, dates and small numbers are not found."""
    assert DETECT(text) == frozenset()


def test_a_number_without_the_check_digit_is_no_card() -> None:
    """Luhn's sum tells a card from another long number."""
    assert "card" not in DETECT("4111 1111 1111 1112")


def test_a_harmless_conversation_leaves_whole() -> None:
    """Nothing is found, so nothing is taken out; an application's own prompt may speak of what it likes."""
    assert redacted(SYSTEM, HELLO) == Redacted([SYSTEM, HELLO], frozenset(), frozenset())


def test_marked_messages_and_parts_stay() -> None:
    """A memory among the prompts goes, a marked part of the question too, and no mark is told outside."""
    memory = made_message("system", "Maya has two cats.", **MEMORY)
    fact = {"type": "text", "text": "She likes leeks.", **SENSITIVE}
    question = made_message("user", [fact, {"type": "text", "text": "What shall we cook?"}])
    left = made_message("user", [{"type": "text", "text": "What shall we cook?"}])
    assert redacted(SYSTEM, memory, question) == Redacted(
        [SYSTEM, left], frozenset(), frozenset({"memory", "sensitive"})
    )


def test_with_a_private_message_goes_its_answer() -> None:
    """What a friend answers to a confession tells of it; later turns stay."""
    turn = (made_message("user", "I am pregnant"), made_message("assistant", "Congratulations! When is it due?"))
    later = (made_message("user", "Let's talk of food"), made_message("assistant", "Gladly."))
    assert redacted(SYSTEM, *turn, *later, HELLO).messages == [SYSTEM, *later, HELLO]


@pytest.mark.parametrize(
    ("call", "tool_result"),
    [
        (called("a", '{"query": "my diagnosis"}'), result("a")),
        (called("a"), result("a", "her number is +49 170 1234567")),
        (called("a"), result("a", **MEMORY)),
        (called("a", **MEMORY), result("a")),
    ],
)
def test_neither_half_of_a_tool_call_stays_alone(call: Message, tool_result: Message) -> None:
    """A private argument or result takes the other side of the call along."""
    kept = (called("b"), result("b"))
    assert redacted(made_message("user", "Look it up"), call, tool_result, *kept, HELLO).messages == [
        made_message("user", "Look it up"),
        *kept,
        HELLO,
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [SYSTEM, made_message("user", "I want to die")],
        [SYSTEM, made_message("user", "What shall we cook?", **SENSITIVE)],
        [SYSTEM, made_message("user", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])],
        [made_message("system", "You are Maya's friend; she has two cats.", **MEMORY), HELLO],
        [HELLO, called("a"), result("a", "the password is hunter2")],
        [made_message("assistant", "I am a doctor")],
        [made_message("user", [{"type": "text", "text": "all of it", **MEMORY}])],
    ],
)
def test_without_its_question_nothing_leaves(messages: list[Message]) -> None:
    """The last user message, the last message and a system prompt cannot be left out."""
    outcome = redacted(*messages)
    assert outcome.messages is None
    assert outcome.withheld


def test_with_consent_everything_leaves_and_is_named() -> None:
    """The same messages without their marks, and which classes they have."""
    outcome = redact([made_message("user", "I am pregnant"), {**HELLO, **MEMORY}], DETECT, allow_sensitive=True)
    assert outcome == Redacted(
        [made_message("user", "I am pregnant"), HELLO], frozenset({"health", "memory"}), frozenset()
    )


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "text",
        [1],
        [{}],
        [{"role": "user", "content": 5}],
        [{"role": [], "content": [{"type": []}, 3]}],
        [made_message("assistant", None, tool_calls=[1, {"function": 2}])],
        [made_message("tool", "x", tool_call_id=[])],
    ],
)
def test_odd_shapes_break_nothing(messages: Any) -> None:
    """The model validates the shape; here it is only searched."""
    check_marks(messages)
    redact(messages, DETECT, allow_sensitive=False)
    without_marks({"messages": messages})


@pytest.mark.parametrize("mark", ["memory", {}, None, {"private": "no"}, {"private": ["memory"]}, {"privat": "memory"}])
def test_a_mark_that_is_not_understood_is_refused(mark: Any) -> None:
    """A mistyped mark would let out what it was to keep in; the error names its place."""
    with pytest.raises(InvalidRequest) as refused:
        check_marks([SYSTEM, {**HELLO, "bondhu": mark}])
    assert refused.value.param == "messages.1.bondhu"
    with pytest.raises(InvalidRequest) as refused:
        check_marks([made_message("user", [{"type": "text", "text": "x", "bondhu": mark}])])
    assert refused.value.param == "messages.0.content.0.bondhu"


def test_an_engine_sees_no_marks() -> None:
    """They are taken off messages and parts, and a body without any is passed on as it is."""
    marked = {
        "messages": [SYSTEM, made_message("user", [{"type": "text", "text": "x", **MEMORY}], **SENSITIVE)],
        "n": 1,
    }
    assert without_marks(marked) == {
        "messages": [SYSTEM, made_message("user", [{"type": "text", "text": "x"}])],
        "n": 1,
    }
    plain = {"messages": [SYSTEM, HELLO]}
    assert without_marks(plain) is plain
