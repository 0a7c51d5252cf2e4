"""Measures how often a grammar repeats, as `protocol.expression_size` does for regular expressions, across its rules.

Syntax: the GBNF that xgrammar reads (https://xgrammar.mlc.ai/docs/tutorials/ebnf_grammar.html), and Lark's, which vLLM
converts to it: a rule starts with its name and `::=` or `:`. The text is read once; recursive rules count once.
"""

import re

from serving.protocol.expression_size import LARGEST, TooDeep, end_of_set, times

_NAME = re.compile(r"[A-Za-z_][\w.-]{0,200}")
_SPACE = re.compile(r"[\s|*+?!]{1,1000}")
_BEGIN = re.compile(r"[ \t]{0,100}(?:::=|:)")
_BOUND = re.compile(r"\{[ \t]{0,20}(\d{1,9})[ \t]{0,20}(?:(,)[ \t]{0,20}(\d{0,9}))?[ \t]{0,20}\}")
_LARK_BOUND = re.compile(r"~[ \t]{0,20}(\d{1,9})(?:(\.\.)(\d{1,9}))?")

Weights = dict[str, int]  # rule name -> its repetition where it is used; "" for anything but a rule
_NOTHING: Weights = {}
_TEXT: Weights = {"": 1}


def repetition_of_grammar(grammar: str, max_depth: int) -> int:
    """The largest product of nested bounds; raises TooDeep."""
    rules = _rules(grammar, max_depth)
    weights: dict[str, int] = {}
    for first in rules:
        _weigh(first, rules, weights)
    return max(weights.values(), default=1)


def _weigh(first: str, rules: dict[str, Weights], weights: dict[str, int]) -> None:
    """Compute the weight of a rule after those of the rules that it uses, without recursion."""
    stack, entered = [first], set()
    while stack:
        name = stack[-1]
        if name in weights or name not in rules:
            stack.pop()
        elif name not in entered:
            entered.add(name)
            stack += [used for used in rules[name] if used not in entered and used not in weights]
        else:
            stack.pop()
            products = (times_ * weights.get(named, 1) for named, times_ in rules[name].items())
            weights[name] = min(LARGEST, max(products, default=1))


def _rules(grammar: str, max_depth: int) -> dict[str, Weights]:
    rules: dict[str, Weights] = {"": {}}
    groups: list[Weights] = [rules[""]]
    last, factor = _NOTHING, 1  # the previous element and its repetition; it joins its group at the next element
    at = 0
    while at < len(grammar):
        char = grammar[at]
        space = _SPACE.match(grammar, at)
        bound = _BOUND.match(grammar, at) or _LARK_BOUND.match(grammar, at)
        if space or bound:
            factor = min(LARGEST, factor * times(bound)) if bound else factor
            at = (space or bound).end()  # type: ignore[union-attr]  # one of the two
            continue
        _join(groups[-1], last, factor)
        last, factor, width = _NOTHING, 1, 1
        if char in "\"'":
            width, last = _end_of_text(grammar, at, char) - at, _TEXT
        elif char == "#" or grammar.startswith("//", at):
            width = _end_of_line(grammar, at) - at
        elif char == "[":
            width, last = end_of_set(grammar, at) - at, _TEXT
        elif char == "(":
            groups.append({})
            if len(groups) > max_depth:
                raise TooDeep
        elif char == ")" and len(groups) > 1:
            last = groups.pop()
        elif name := _NAME.match(grammar, at):
            width = name.end() - at
            if begin := _BEGIN.match(grammar, name.end()):
                width = begin.end() - at
                groups = [rules.setdefault(name[0], {})]
            else:
                last = {name[0]: 1}
        else:  # Lark's expressions between slashes
            last = _TEXT
        at += width
    _join(groups[-1], last, factor)
    return rules


def _join(group: Weights, element: Weights, factor: int) -> None:
    for named, count in element.items():
        group[named] = max(group.get(named, 1), min(LARGEST, count * factor))


def _end_of_text(grammar: str, at: int, quote: str) -> int:
    at += 1
    while at < len(grammar) and grammar[at] not in (quote, "\n"):
        at += 2 if grammar[at] == "\\" else 1
    return at + 1


def _end_of_line(grammar: str, at: int) -> int:
    end = grammar.find("\n", at)
    return len(grammar) if end < 0 else end
