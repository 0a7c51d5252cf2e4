"""How often a regular expression repeats: its bounded repetitions multiplied along the deepest nesting.

`(a{0,99}){0,99}` repeats 9,801 times. The text is read once, without backtracking; whether it is an expression at all
is not looked at. Syntax: ECMA-262, which JSON schemas and engines take.
"""

import re

_BOUND = re.compile(r"\{(\d{1,9})(?:(,)(\d{0,9}))?\}")
_PLAIN = re.compile(r"[^\\\[\](){}*+?]{1,1000}")
LARGEST = 10**12  # of a product: beyond, nobody needs to know how much more


class TooDeep(Exception):
    """It is nested deeper than is allowed."""


def repetition_of(pattern: str, max_depth: int) -> int:
    """The greatest product of nested bounds; 1 when nothing repeats that is bounded. Raises TooDeep."""
    groups = [1]  # of each open group, the greatest product within it
    last, at = 1, 0
    while at < len(pattern):
        char = pattern[at]
        width = 1
        if char == "\\":
            width, last = 2, 1
        elif char == "[":
            width, last = end_of_set(pattern, at) - at, 1
        elif char == "(":
            groups.append(1)
            if len(groups) > max_depth:
                raise TooDeep
            last = 1
        elif char == ")" and len(groups) > 1:
            last = groups.pop()
        elif char == "{" and (bound := _BOUND.match(pattern, at)):
            width, last = bound.end() - at, min(LARGEST, last * times(bound))
        elif plain := _PLAIN.match(pattern, at):
            width, last = plain.end() - at, 1
        elif char not in "*+?":
            last = 1
        groups[-1] = max(groups[-1], last)
        at += width
    return max(groups)


def times(bound: re.Match[str]) -> int:
    """How often `{m}`, `{m,}` or `{m,n}` makes an engine count."""
    fewest, _, most = bound.groups()
    return max(1, int(most) if most else int(fewest))


def end_of_set(pattern: str, at: int) -> int:
    """Where the set of characters ends that begins at `at`; the text's end when it does not."""
    at += 1
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
