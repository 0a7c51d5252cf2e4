"""A model of an engine with continuous batching, for virtual time: at most so many sequences, first come first served.

Each step generates one token for every sequence of the batch. It takes `step_s`, plus `per_sequence_s` for each of
them, plus `prefill_s` for each that joined. By default that is about a very small model on two cores: 1.9 ms a step for
one sequence, 3.2 ms for 16. Only comparisons within one model mean anything; it knows no memory and no prefix cache.
"""

import asyncio
from collections import deque
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class _Sequence:
    left: int
    done: "asyncio.Future[None]"
    first_token_at: float = 0.0


class EngineModel:
    """Generates tokens of no meaning; durations in seconds."""

    def __init__(
        self,
        *,
        max_num_seqs: int = 64,
        step_s: float = 0.0018,
        per_sequence_s: float = 0.000085,
        prefill_s: float = 0.002,
    ) -> None:
        self._max_num_seqs = max_num_seqs
        self._step_s = step_s
        self._per_sequence_s = per_sequence_s
        self._prefill_s = prefill_s
        self._waiting: deque[_Sequence] = deque()
        self._batch: list[_Sequence] = []
        self._stepping: asyncio.Task[None] | None = None

    async def generate(self, tokens: int) -> float:
        """Return, after the last token, the loop's instant of the first one."""
        loop = asyncio.get_running_loop()
        sequence = _Sequence(tokens, loop.create_future())
        self._waiting.append(sequence)
        if self._stepping is None or self._stepping.done():
            self._stepping = loop.create_task(self._step())
        await sequence.done
        return sequence.first_token_at

    async def _step(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or self._batch:
            joined = [self._waiting.popleft() for _ in range(self._max_num_seqs - len(self._batch)) if self._waiting]
            self._batch += joined
            await asyncio.sleep(self._step_s + self._per_sequence_s * len(self._batch) + self._prefill_s * len(joined))
            for sequence in self._batch:
                sequence.first_token_at = sequence.first_token_at or loop.time()
                sequence.left -= 1
                if not sequence.left:
                    sequence.done.set_result(None)
            self._batch = [sequence for sequence in self._batch if sequence.left]
