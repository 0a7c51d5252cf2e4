"""The table of helplines: everything in it says where it was read and when."""

from datetime import date, timedelta

from agents.safety.helplines import CHECK_AGAIN, DIRECTORIES, HELPLINES, helplines_of, to_check
from agents.safety.reply import TEXT, crisis_reply

READ = date(2026, 11, 27)


def test_every_line_has_a_source_and_a_day() -> None:
    """A number that nobody can check again is not told to anybody."""
    for country, lines in HELPLINES.items():
        assert len(country) == 2
        assert country.isupper()
        assert lines
        for line in (*lines, *DIRECTORIES):
            assert line.source.startswith("https://")
            assert line.checked >= READ
            assert line.name
            assert line.contact


def test_there_is_no_default_country() -> None:
    """Of an unknown one, or none, there are directories only."""
    for unknown in (None, "", "XX", "GBR", "\u0131e"):
        assert helplines_of(unknown) == ()
        text = crisis_reply(unknown)
        assert text.startswith(TEXT)
        assert "findahelpline.com" in text
        assert "iasp.info" in text
        assert "call " not in text.removeprefix(TEXT)
    assert helplines_of(" gb ") == HELPLINES["GB"]


def test_an_operators_words_keep_the_helplines() -> None:
    """What is said can be changed, that help is named cannot."""
    text = crisis_reply("IN", text="I am here.")
    assert text.startswith("I am here.\n")
    assert "14416" in text
    assert "findahelpline.com" in text


def test_what_was_checked_long_ago_is_listed() -> None:
    """So that somebody looks again."""
    first = min(line.checked for lines in HELPLINES.values() for line in lines)
    assert to_check(first + CHECK_AGAIN) == []
    later = to_check(first + CHECK_AGAIN * 9 + timedelta(days=1))
    assert len(later) == sum(map(len, HELPLINES.values())) + len(DIRECTORIES)
