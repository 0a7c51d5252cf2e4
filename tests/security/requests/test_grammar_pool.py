"""A grammar is tried beside the engine, by the real compiler, and what costs too much is refused and harms nothing."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from models.grammar_pool import GrammarLimits, GrammarPool, PoolBusy

pytestmark = pytest.mark.timeout(600)  # each starts a worker, which imports torch
LIMITS = GrammarLimits(cpu_s=1.0, memory_mb=256, step_s=0.1, max_waiting=1)


@pytest.fixture
async def pool() -> AsyncIterator[GrammarPool]:
    """A pool whose tokens are bytes."""

    async def header() -> str:
        rules = {"memory_mb": LIMITS.memory_mb, "cpu_s": LIMITS.cpu_s}
        return json.dumps({"tokenizer": None, "any_whitespace": False, **rules})

    pool = GrammarPool(LIMITS, header)
    yield pool
    await pool.close()


async def test_what_costs_too_much_is_refused_and_the_next_is_tried(pool: GrammarPool) -> None:
    """Time to compile or to follow, and memory; each says which, and what is allowed."""
    ordinary = json.dumps({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
    assert await pool.problem("json", ordinary) is None
    slow = await pool.problem("regex", "((((a{0,99}){0,99}){0,99}){0,99}){0,99}")
    assert slow is not None
    assert "than the maximum of" in slow
    assert await pool.problem("regex", "[a-z]{1,9}") is None
    large = await pool.problem("grammar", "root ::= " + " ".join(f'("{i}" | "b{i}" | "c")?' for i in range(8000)))
    assert large is not None
    assert "than the maximum of" in large
    assert await pool.problem("grammar", 'root ::= "yes" | "no"') is None


async def test_what_is_no_grammar_is_left_to_the_engine(pool: GrammarPool) -> None:
    """It says what is wrong in its own words."""
    assert await pool.problem("grammar", "root ::= (") is None
    assert await pool.problem("json", "{") is None


async def test_a_queue_that_is_full_says_so(pool: GrammarPool) -> None:
    """Nobody waits for ever."""
    first = asyncio.create_task(pool.problem("regex", "a{1,3}"))
    await asyncio.sleep(0)
    with pytest.raises(PoolBusy):
        await pool.problem("regex", "b{1,3}")
    assert await first is None
    assert await pool.problem("regex", "a{1,3}") is None


async def test_what_a_string_may_be_is_tried_as_well(pool: GrammarPool) -> None:
    """An expression within a schema, where a quotation mark would end it at once."""
    pattern = "((((a{0,99}){0,99}){0,99}){0,99}){0,99}"
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}}, "required": ["x"]}
    assert await pool.problem("json", json.dumps(schema)) is not None
