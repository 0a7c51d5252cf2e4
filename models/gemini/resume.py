"""Continues a text that another model began: the prompt for Gemini, and the seam.

The model gets the text as its own last message, then the request to continue it, starting with the last words again.
Their end is known, so the seam needs no guess about spaces or split words. A model that repeats more (the whole text)
or nothing is handled too. This module knows only the shape of two messages of Gemini's protocol, and must be used for
prose only: partial JSON or tool calls are not continued.
"""

from os.path import commonprefix
from typing import Any

_INSTRUCTION = (
    "Your last message was cut off in the middle. Go on with it: first repeat its last words exactly, which are "
    "<<<{anchor}>>>, without the brackets, and write on from there in the same language, style and format, to the end "
    "of what you were going to say. Say nothing about the interruption, and repeat nothing but those words."
)
_WORDS = 6
_MAX_ANCHOR = 80  # characters, for scripts without spaces between words
_MIN_ECHO = 4  # characters that a repetition must share with the text, so that chance does not count


def anchor(text: str) -> str:
    """The last words of `text`, with which the continuation must start."""
    pieces = text.rsplit(None, _WORDS)
    start = len(pieces[0]) if len(pieces) > _WORDS else 0  # what stands before them is as it was
    return text[start:].strip()[-_MAX_ANCHOR:]


def continuation(text: str) -> list[dict[str, Any]]:
    """The messages to append to Gemini's contents: the text as the model's turn, and the request.

    The request comes last also because newer models refuse a conversation that ends with their own turn.
    """
    instruction = _INSTRUCTION.format(anchor=anchor(text))
    return [{"role": "model", "parts": [{"text": text}]}, {"role": "user", "parts": [{"text": instruction}]}]


class TextSplicer:
    """Removes from the start of a continuation what the client already has.

    Text is held back only while it may still be a repetition; `add` each piece, `flush` at the end.
    """

    def __init__(self, sent: str) -> None:
        self._sent = sent.rstrip()
        self._space = sent[len(self._sent) :] if self._sent else ""
        self._held = ""
        self._joined = not self._sent

    def add(self, text: str) -> str:
        """The part of the text so far that can be sent."""
        if self._joined:
            return self._without_space(text)
        self._held += text
        echo = self._held.lstrip()
        return "" if not echo or echo in self._sent else self._join(echo)

    def flush(self) -> str:
        """The rest of the text, at its end."""
        echo = self._held.lstrip()
        return "" if self._joined or not echo else self._join(echo)

    def _join(self, echo: str) -> str:
        self._joined = True
        if length := self._repeated(echo):
            return self._without_space(echo[length:])
        bare = not self._space and self._sent[-1].isalnum() and self._held[0].isalnum()
        return f" {self._held}" if bare else self._without_space(self._held)  # it began anew, as models do

    def _without_space(self, text: str) -> str:
        """The text without the space that was already sent."""
        length = len(commonprefix([text, self._space]))  # noqa: RUF071 - characters are meant, no paths
        self._space = self._space[length:] if length == len(text) else ""
        return text[length:]

    def _repeated(self, echo: str) -> int:
        """How many characters at the start of the continuation repeat the end of the text."""
        expected = anchor(self._sent)
        if echo.startswith(expected):
            return len(expected)
        lengths = range(min(len(echo), len(self._sent)), min(_MIN_ECHO, len(self._sent)) - 1, -1)
        return next((length for length in lengths if self._sent.endswith(echo[:length])), 0)
