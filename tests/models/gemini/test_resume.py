"""The seam between one model's text and the next one's."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from models.gemini.resume import TextSplicer, anchor, continuation

WORDS = st.lists(st.sampled_from(["a", "the", "fox", "jumps,", "আমি", "好", "again", "\n\n"]), min_size=1, max_size=14)
TEXT = WORDS.map(" ".join).filter(str.strip)


def spliced(sent: str, pieces: list[str]) -> str:
    """What goes out for a continuation in these pieces."""
    splicer = TextSplicer(sent)
    return "".join([splicer.add(piece) for piece in pieces]) + splicer.flush()


def cut(text: str, cuts: set[int]) -> list[str]:
    """The text in pieces."""
    bounds = [0, *sorted(position for position in cuts if position < len(text)), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


@given(
    sent=TEXT.map(str.rstrip),
    space=st.sampled_from(["", " ", "\n", "\n\n"]),
    rest=st.text(alphabet="ab, .\nআ", max_size=20),
    cuts=st.sets(st.integers(1, 60), max_size=8),
)
def test_the_repeated_words_are_removed(sent: str, space: str, rest: str, cuts: set[int]) -> None:
    """Whatever the text, even a repetitive one, and however it comes in pieces, nothing is lost or doubled."""
    assert spliced(sent + space, cut(anchor(sent) + space + rest, cuts)) == rest


def test_a_space_that_comes_in_two_pieces_is_taken_off_once() -> None:
    """The space that stands at the text's end is not repeated, wherever the continuation is cut."""
    assert spliced("a a\n\n", ["a a\n", "\n", "\nb"]) == "\nb"


@given(first=TEXT, rest=TEXT, cuts=st.sets(st.integers(1, 200), max_size=8))
def test_a_continuation_in_other_words_is_left_as_it_is(first: str, rest: str, cuts: set[int]) -> None:
    """Nothing but a repetition is taken off; between two words a space is put in."""
    sent, other = f"{first.rstrip()}.", f"Zebra {rest}"
    assert spliced(sent, cut(other, cuts)) == other
    assert spliced(f"{sent} so", cut(other, cuts)) == f" {other}"


def test_text_goes_out_as_soon_as_it_is_no_repetition() -> None:
    """Held back is only what may still be one."""
    splicer = TextSplicer("The quick brown fox")
    assert [splicer.add(piece) for piece in ("quick", " brown", " fox", " jumps", " over")] == [
        "",
        "",
        "",
        " jumps",
        " over",
    ]
    assert TextSplicer("The quick brown fox").add("Well") == " Well"


def test_without_a_text_nothing_is_held_back() -> None:
    """An answer from the beginning passes through."""
    assert [TextSplicer(sent).add(" a") for sent in ("", " \n")] == [" a", " a"]


def test_the_instruction_names_the_last_words() -> None:
    """The model's own turn comes first, the user's wish last; a text without spaces is not repeated in full."""
    own, instruction = continuation("one two three four five six seven ")
    assert own == {"role": "model", "parts": [{"text": "one two three four five six seven "}]}
    assert "<<<two three four five six seven>>>" in instruction["parts"][0]["text"]
    assert anchor("好" * 200) == "好" * 80
