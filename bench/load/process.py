"""The load generator from outside: starts its process, gives it blocks and reads the results."""

import subprocess
import sys
from dataclasses import asdict, fields

import orjson

from bench.load.generator import Block, Seen


class LoadGenerator:
    """The process that puts the load on."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "bench.load.generator"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, block: Block) -> Seen:
        """Run one block."""
        assert self._process.stdin is not None, "piped"
        assert self._process.stdout is not None, "piped"
        self._process.stdin.write(orjson.dumps(asdict(block)) + b"\n")
        self._process.stdin.flush()
        answer = orjson.loads(self._process.stdout.readline())
        return Seen(**{each.name: answer[each.name] for each in fields(Seen)})

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
