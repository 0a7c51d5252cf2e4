"""Compiles grammars one by one and reports their cost, in a process that is killed if one costs too much.

    python -m models.grammar_worker

The first line of input is a JSON object: `tokenizer` (xgrammar's own JSON of it; none: bytes), `any_whitespace`,
`memory_mb` (beyond its own need) and `cpu_s` (per grammar). Each further line is a grammar, `{"kind": ..., "spec":
...}`, and is answered by one line: `{"step_s": ...}`, the longest step in a few walks of STEPS tokens, or `{"problem":
...}` for a grammar that xgrammar rejects. If a grammar exceeds the limits, the kernel ends the process. Time is CPU
time, so that a busy machine does not change the result. This module does not know requests.
"""

import json
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy
import xgrammar

STEPS = 24
# The token of each step: l, the longest one; a, the first of the shortest (often a quotation mark); z, the last of the
# shortest (often a letter). With one kind alone, a walk may end a string at once, and never measure its content.
WALKS = ("l", "z", "la", "zl")


class Bench:
    """Measures grammars.

    Args:
        tokenizer: xgrammar's description of the tokenizer.
        any_whitespace: whether generated JSON may contain any whitespace.

    """

    def __init__(self, tokenizer: xgrammar.TokenizerInfo, *, any_whitespace: bool) -> None:
        self._tokenizer = tokenizer
        self._lengths = numpy.array([len(token) for token in tokenizer.decoded_vocab])
        self._stops = list(tokenizer.stop_token_ids)
        compiler = xgrammar.GrammarCompiler(tokenizer, max_threads=1, cache_enabled=False)
        self._compile: dict[str, Callable[[str], Any]] = {
            "regex": compiler.compile_regex,
            "grammar": compiler.compile_grammar,
            "json": lambda schema: compiler.compile_json_schema(schema, any_whitespace=any_whitespace),
            "structural_tag": compiler.compile_structural_tag,
        }

    def measure(self, kind: str, spec: str) -> float:
        """Return the CPU time of the longest step, s; raises xgrammar's exceptions."""
        matcher = xgrammar.GrammarMatcher(self._compile[kind](spec))
        longest_s = 0.0
        for walk in WALKS:
            longest_s = max(longest_s, self._walk(matcher, walk))
            matcher.reset()
        return longest_s

    def _walk(self, matcher: xgrammar.GrammarMatcher, walk: str) -> float:
        mask = xgrammar.allocate_token_bitmask(1, self._tokenizer.vocab_size)
        longest_s = 0.0
        for step in range(STEPS):
            began_s = time.process_time()
            matcher.fill_next_token_bitmask(mask, 0)
            token = self._choose(mask.numpy(), walk[step % len(walk)])
            ended = token is None or not matcher.accept_token(token) or matcher.is_terminated()
            longest_s = max(longest_s, time.process_time() - began_s)
            if ended:
                break
        return longest_s

    def _choose(self, mask: Any, which: str) -> int | None:
        """Choose one of the allowed tokens except end tokens, as WALKS describes."""
        bits = numpy.unpackbits(mask.view(numpy.uint8)[0], bitorder="little")[: len(self._lengths)].astype(bool)
        bits[self._stops] = False
        bits &= self._lengths > 0
        allowed = numpy.flatnonzero(bits)
        if not len(allowed):
            return None
        lengths = self._lengths[allowed]
        best = lengths.max() if which == "l" else lengths.min()
        return int(allowed[numpy.flatnonzero(lengths == best)[-1 if which == "z" else 0]])


def main(lines: TextIO, answers: TextIO) -> None:
    """Measure until the input ends."""
    rules = json.loads(next(lines))
    if rules["tokenizer"] is None:
        tokenizer = xgrammar.TokenizerInfo([b"<end>", *(bytes([each]) for each in range(256))], stop_token_ids=[0])
    else:
        tokenizer = xgrammar.TokenizerInfo.deserialize_json(rules["tokenizer"])
    bench = Bench(tokenizer, any_whitespace=rules["any_whitespace"])
    max_bytes = _virtual_bytes() + rules["memory_mb"] * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _write(answers, {"ready": True})
    for line in lines:
        grammar = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, rules["cpu_s"])  # the default action of SIGPROF ends the process
        try:
            answer: dict[str, Any] = {"step_s": bench.measure(grammar["kind"], grammar["spec"])}
        except MemoryError:
            raise
        except Exception as problem:
            if "alloc" in str(problem):
                raise
            answer = {"problem": str(problem)[:500]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answers, answer)


def _write(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _virtual_bytes() -> int:
    with open("/proc/self/statm") as sizes:
        return int(sizes.read().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
