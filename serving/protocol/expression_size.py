"""Measures how often a regular expression repeats: the product of its nested bounded repetitions.

`(a{0,99}){0,99}` repeats 9,801 times. The text is read once, without backtracking; its validity is not checked.
Syntax: ECMA-262, which JSON schemas and engines use.
"""

import re

_BOUND = re.compile(r"\{(\d{1,9})(?:(,)(\d{0,9}))?\}")
_PLAIN = re.compile(r"[^\\\[\](){}*+?]{1,1000}")
LARGEST = 10**12  # cap of a product; the exact value does not matter above it


class TooDeep(Exception):
    """The expression is nested too deeply."""


def repetition_of(pattern: str, max_depth: int) -> int:
    """The largest product of nested bounds, 1 without any; raises TooDeep."""
    groups = [1]  # the largest product in each open group
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
    """How often `{m}`, `{m,}` or `{m,n}` repeats: the upper bound, or else the lower one."""
    minimum, _, maximum = bound.groups()
    return max(1, int(maximum) if maximum else int(minimum))


def end_of_set(pattern: str, at: int) -> int:
    """The index after the character set that starts at `at`; the end of the text if it is not closed."""
    at += 1
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
