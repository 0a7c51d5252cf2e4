"""Finds every regular expression of the packages and reads adversarial texts with each; run by test_expressions.py.

    python expressions.py list            a line for each expression: its number, where it stands, what it says
    python expressions.py read FIRST      reads with expression FIRST and those after it; prints each number before

An expression is found when its module is imported (whatever calls `re.compile` there), or by its literal in a call
within a function. The texts that it is given are made from its own syntax: each repetition is driven on as long as it
goes, and then disappointed. A text takes more than CPU_S of processor time: the process is killed by the kernel.
"""

import ast
import importlib
import pkgutil
import re
import re._constants as ops  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import resource
import signal
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import regex

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("agents", "jobs", "memory", "models", "serving", "storage")
LENGTH = 100_000
CPU_S = 2.0
# What does not run in the service: the demonstration model's training, and the two modules that import vLLM or Ray.
LEFT_OUT = ("models.companion", "models.demo", "storage.migrations.env", "models.vllm.describe_arguments")
FUNCTIONS = {"compile", "match", "search", "sub", "subn", "fullmatch", "findall", "finditer", "split"}
MADE = object()  # an expression that is put together within a function
ENGINES = {"re": re, "regex": regex}
NAMED_GROUPS = re.compile(r"\(\?P<\w+>")  # with `regex`, two may have one name
UNICODE_SETS = re.compile(r"\\[pP]\{[^}]*\}|\\X")  # of `regex` alone; a letter stands for each

Found = tuple[str, Any]


def found() -> list[Found]:
    """Where each expression stands, and itself."""
    patterns: dict[tuple[str, str | bytes, int], Any] = {}
    compilers = {engine: module.compile for engine, module in ENGINES.items()}

    def recording(engine: str) -> Any:
        def compile_(pattern: Any, flags: Any = 0, **more: Any) -> Any:
            compiled = compilers[engine](pattern, flags, **more)
            module = sys._getframe(1).f_globals.get("__name__", "")
            if module.partition(".")[0] in PACKAGES:
                patterns[module, compiled.pattern, compiled.flags] = compiled
            return compiled

        return compile_

    for engine, module in ENGINES.items():
        module.compile = recording(engine)  # type: ignore[attr-defined]
    names = [name for name in modules() if not name.startswith(LEFT_OUT)]
    for name in names:
        importlib.import_module(name)
    for name in names:
        for literal, flags, engine in literals(Path(str(sys.modules[name].__file__)).read_text()):
            if literal is not MADE:
                compiled = compilers[engine](literal, flags)
                patterns[name, compiled.pattern, compiled.flags] = compiled
    run_time_expressions()
    for engine, module in ENGINES.items():
        module.compile = compilers[engine]  # type: ignore[attr-defined]
    return [(module, pattern) for (module, _, _), pattern in sorted(patterns.items(), key=lambda each: str(each[0]))]


def modules() -> Iterator[str]:
    """Every module of the packages."""
    for package in PACKAGES:
        if (ROOT / package).is_dir():
            yield package
            yield from (each.name for each in pkgutil.walk_packages([str(ROOT / package)], f"{package}."))


def literals(source: str) -> Iterator[tuple[Any, int, str]]:
    """The expressions in calls of `re` and `regex`, with their flags and which; MADE for one that is no literal."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id in ENGINES and node.func.attr in FUNCTIONS:
            first, engine = node.args[0], node.func.value.id
            names = {
                each.attr
                for value in [*node.args, *[k.value for k in node.keywords]]
                for each in ast.walk(value)
                if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == engine
            }
            flags = 0
            for name in names & {"S", "M", "I", "DOTALL", "MULTILINE", "IGNORECASE"}:
                flags |= int(getattr(ENGINES[engine], name))
            yield (first.value if isinstance(first, ast.Constant) else MADE), flags, engine


def run_time_expressions() -> None:
    """Those that are put together within functions, made as the service makes them."""
    from memory.intents.detector import LANGUAGES
    from memory.times.expressions import BENGALI, ENGLISH, GERMAN, HINDI, SPANISH
    from models.control_tokens import Neutraliser
    from serving.observability.logs import Redactor
    from serving.privacy.detector import detector  # and, with it, memory.unicode_text

    Redactor({"a-secret-of-the-environment"})
    for language in LANGUAGES:
        for name, member in vars(type(language)).items():
            if isinstance(member, cached_property):
                getattr(language, name)
    for times in (BENGALI, ENGLISH, GERMAN, HINDI, SPANISH):
        assert times.rules
        assert times.is_future
        assert times.lasts
    detector({"more": ("word*", "other words")})
    Neutraliser(["<|end|>", "<|endoftext|>", "[INST]", "[/INST]", "<s>", "</s>"])


def texts(pattern: Any) -> Iterator[str]:
    """Adversarial texts of LENGTH characters."""
    pumps = {"a", " ", "\n", "0", "/a", "a ", "_", "'", '"', "(", "{", "<", "@a", "\\", "a.", "0 ", "-", "\u00e9", "A0"}
    tree = tree_of(pattern)
    for before, body in repetitions(tree):
        yield (before + body * (LENGTH // max(1, len(body))))[:LENGTH] + "\x00"
        yield ((before + body) * (LENGTH // max(1, len(before + body))))[:LENGTH] + "\x00"
        yield ((before + body * 3) * (LENGTH // max(1, len(before + body * 3))))[:LENGTH] + "\x00"
    whole = sample(tree)
    pumps |= {whole, whole[:-1], whole[: len(whole) // 2]} - {""}
    for pump in sorted(pumps):
        yield (pump * (LENGTH // len(pump) + 1))[:LENGTH] + "\x00"


def tree_of(pattern: Any) -> Any:
    """What it consists of; of what only `regex` can say, about."""
    if isinstance(pattern, re.Pattern):
        return parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
    text = NAMED_GROUPS.sub("(", UNICODE_SETS.sub("a", pattern.pattern))
    return parser.parse(text, re.IGNORECASE if pattern.flags & regex.I else 0)


def repetitions(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Of each repetition without a small bound: what leads to it, and what it repeats."""
    for op, value in tree:
        if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
            _, maximum, body = value
            if maximum > 1:
                yield before, sample(body) or "a"
            yield from repetitions(body, before)
        elif op is ops.SUBPATTERN:
            yield from repetitions(value[3], before)
        elif op is ops.BRANCH:
            for branch in value[1]:
                yield from repetitions(branch, before)
        before += sample([(op, value)])


def sample(tree: Any) -> str:
    """A text that it matches, about."""
    text = ""
    for op, value in tree:
        if op is ops.LITERAL:
            text += chr(value)
        elif op is ops.NOT_LITERAL:
            text += "b" if value == ord("a") else "a"
        elif op is ops.ANY:
            text += "a"
        elif op is ops.IN:
            text += one_of(value)
        elif op is ops.BRANCH:
            text += sample(value[1][0])
        elif op is ops.SUBPATTERN:
            text += sample(value[3])
        elif op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
            text += sample(value[2]) * max(1, min(value[0], 50))
    return text


def one_of(members: Any) -> str:
    """A character of a set."""
    kinds = {ops.CATEGORY_DIGIT: "0", ops.CATEGORY_SPACE: " ", ops.CATEGORY_WORD: "a"}
    kinds |= {ops.CATEGORY_NOT_DIGIT: "a", ops.CATEGORY_NOT_SPACE: "a", ops.CATEGORY_NOT_WORD: "-"}
    kind = {ops.LITERAL: chr, ops.RANGE: lambda bounds: chr(bounds[0]), ops.CATEGORY: kinds.__getitem__}
    if members[0][0] is ops.NEGATE:
        compiled = re.compile("[^" + "".join(map(re.escape, positive(members[1:]))) + "]")
        return next(char for char in "a0 -;\n~\u00e9" if compiled.match(char))
    return str(kind[members[0][0]](members[0][1]))


def positive(members: Any) -> Iterator[str]:
    """Characters that stand for a set's members."""
    for op, value in members:
        if op is ops.LITERAL:
            yield chr(value)
        elif op is ops.RANGE:
            yield from map(chr, range(value[0], min(value[1], value[0] + 200) + 1))
        elif op is ops.CATEGORY:
            yield {ops.CATEGORY_SPACE: " \n", ops.CATEGORY_WORD: "a0_\u00e9", ops.CATEGORY_DIGIT: "0"}.get(value, "")


def read(first: int, limits: dict[str, int]) -> None:
    """Read every text with each expression from number `first` on."""
    patterns = found()
    for number in range(first, len(patterns)):
        module, pattern = patterns[number]
        bound = limits.get(module, LENGTH + 1)
        for text in dict.fromkeys(texts(pattern)):
            subject: Any = text[:bound] if isinstance(pattern.pattern, str) else text[:bound].encode()
            print(number, repr(subject[:60]), flush=True)
            signal.setitimer(signal.ITIMER_PROF, CPU_S)  # its signal's default action ends the process
            pattern.fullmatch(subject)
            for _ in pattern.finditer(subject):  # searches again and again
                pass
            signal.setitimer(signal.ITIMER_PROF, 0)
    print("done", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.argv[1] == "list":
        for number, (module, pattern) in enumerate(found()):
            print(number, module, repr(pattern.pattern))
    else:
        import json

        read(int(sys.argv[2]), json.loads(sys.argv[3]))
