"""A stream that stalls is ended in time, and nothing else is."""

import asyncio
from collections.abc import Sequence

import pytest

from serving.resilience.deadline import Stall
from tests.support.virtual_time import run


async def _seconds(steps: Sequence[tuple[float, float]], timeout_s: float | None) -> float:
    """How long it goes on: at each step it moves after the first number of seconds, then rests for the second."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(None) as limit:
            with Stall(limit, timeout_s) as stall:
                for wait_s, rest_s in steps:
                    await asyncio.sleep(wait_s)
                    stall.rests()
                    await asyncio.sleep(rest_s)
                    stall.moves()
    except TimeoutError:
        return loop.time() - began
    return float("inf")


@pytest.mark.parametrize(
    ("steps", "timeout_s", "ends_after_s"),
    [
        ([(100, 0), (3, 0), (3, 0), (9, 0)], 5, 111),  # not before it first moved; 5 s after it last did
        ([(0, 0), (4, 0), (4, 0), (4, 0)], 5, float("inf")),
        ([(0, 0), (1, 100), (4, 100), (1, 0)], 5, float("inf")),  # a slow client
        ([(0, 0), (1000, 0)], None, float("inf")),
    ],
)
def test_a_stall_ends_the_stream(
    steps: Sequence[tuple[float, float]], timeout_s: float | None, ends_after_s: float
) -> None:
    """The time counts from the last move, and not while it rests."""
    assert run(_seconds(steps, timeout_s)) == pytest.approx(ends_after_s)
