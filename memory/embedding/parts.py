"""Cuts a text that is longer than an embedder reads into parts, so that nothing that was said is out of reach.

A model reads the beginning of a text, and the rest is lost. So a long turn has a vector of its beginning, like any
other, and one of each of its parts. A part ends at the end of a sentence if there is one, and has as many bytes as the
default model reads at any rate (256 tokens of 3 bytes).
"""

import regex

PART_BYTES = 750
_SENTENCE = regex.compile(r"[^.!?\u2026\u0964\u3002\n]*+[.!?\u2026\u0964\u3002\n]*+\s*+")


def parts_of(text: str) -> list[str]:
    """The parts of a text in order; none if it is short enough to be read in one go."""
    if len(text.encode()) <= PART_BYTES:
        return []
    parts: list[str] = []
    part, size = "", 0
    for piece in _pieces(text):
        bytes_more = len(piece.encode())
        if part and size + bytes_more > PART_BYTES:
            parts.append(part)
            part, size = "", 0
        part, size = part + piece, size + bytes_more
    return [each for each in (*parts, part) if each.strip()]


def _pieces(text: str) -> list[str]:
    """Sentences; of a long one its words, of a long word its characters."""
    found: list[str] = []
    for sentence in filter(None, _SENTENCE.findall(text)):
        for piece in [sentence] if len(sentence.encode()) <= PART_BYTES else regex.findall(r"\S*\s*", sentence):
            found += [piece] if len(piece.encode()) <= PART_BYTES else list(piece)
    return found
