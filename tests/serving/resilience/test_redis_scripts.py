"""Scripts share one connection: each caller gets its own reply, and a connection that is lost or hangs is replaced."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from serving.resilience.redis import AWAY, open_redis
from serving.resilience.redis_scripts import ScriptConnection
from serving.resilience.resp import Replies, packed
from tests.support.databases.redis_process import RedisProcess

ECHO = "return {KEYS[1], ARGV[1], #ARGV}"
DEADLINE_S = 60.0


@pytest.fixture
async def redis(redis_process: RedisProcess) -> AsyncIterator[Redis]:
    """Return a client of its own."""
    client = open_redis(redis_process.url)
    yield client
    await client.aclose()


async def test_each_caller_gets_its_own_reply(redis: Redis) -> None:
    """A thousand calls at once, of which every third is cancelled before its reply comes."""
    echo = redis.register_script(ECHO)
    tasks = [asyncio.create_task(echo([f"key{number}"], [number, "x" * number])) for number in range(1000)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for number, result in enumerate(results):
        if number % 3:
            assert result == [b"key%d" % number, b"%d" % number, 2]
        else:
            assert isinstance(result, asyncio.CancelledError | list)


async def test_a_script_is_loaded_again_after_redis_forgot_it(redis: Redis) -> None:
    """As after a restart, or SCRIPT FLUSH."""
    echo = redis.register_script(ECHO)
    assert await echo(["a"], ["b"]) == [b"a", b"b", 1]
    await redis.script_flush()
    assert await echo(["a"], ["b"]) == [b"a", b"b", 1]


async def test_an_error_reply_belongs_to_its_call(redis: Redis) -> None:
    """A script that fails raises ResponseError, and the next call works; a nil is None, bytes stay bytes."""
    with pytest.raises(ResponseError, match="wrong"):
        await redis.register_script("return redis.error_reply('ERR wrong')")()
    assert await redis.register_script("return false")() is None
    assert await redis.register_script("return ARGV[1]")([], [b"\xff\r\n"]) == b"\xff\r\n"


async def test_a_lost_connection_is_opened_again(redis: Redis, redis_process: RedisProcess) -> None:
    """A killed Redis raises what counts as an outage; once it is back, calls work."""
    echo = redis.register_script(ECHO)
    await echo(["a"], ["b"])
    await asyncio.to_thread(redis_process.kill)
    with pytest.raises(AWAY):
        await echo(["a"], ["b"])
    await asyncio.to_thread(redis_process.start)
    assert await echo(["a"], ["b"]) == [b"a", b"b", 1]


async def test_a_connection_that_hangs_is_replaced(redis_process: RedisProcess) -> None:
    """Calls in flight to a Redis that does not answer fail when the next call finds the connection stale."""
    connection = ScriptConnection({"path": str(redis_process.socket)}, stale_s=0.0)
    assert await connection.call("PING") == b"PONG"
    await asyncio.to_thread(redis_process.send, signal.SIGSTOP)
    hanging = asyncio.create_task(connection.call("PING"))
    await asyncio.sleep(0.01)
    later = asyncio.create_task(connection.call("ECHO", "later"))
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(RedisError):
            await hanging
        await asyncio.to_thread(redis_process.send, signal.SIGCONT)
        assert await later == b"later"
    connection.close()


async def test_password_and_database_are_those_of_the_url(redis: Redis, redis_process: RedisProcess) -> None:
    """A script writes where the URL says."""
    await redis.config_set("requirepass", "secret")
    url = f"unix://:secret@{redis_process.socket}?db=3"
    other = open_redis(url)
    await other.register_script("return redis.call('SET', KEYS[1], 'there')")(["place"])
    assert await other.get("place") == b"there"
    wrong = open_redis(f"unix://:wrong@{redis_process.socket}")
    with pytest.raises(AWAY):
        await wrong.register_script("return 1")()
    for client in (other, wrong):
        await client.aclose()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_replies_are_parsed_wherever_they_are_cut(step: int) -> None:
    """Every kind of reply, in pieces of any size."""
    data = b"+OK\r\n:-12\r\n$5\r\na\r\nbc\r\n$-1\r\n*3\r\n:1\r\n$0\r\n\r\n*1\r\n+x\r\n*0\r\n-ERR no\r\n"
    replies, parser = [], Replies()
    for at in range(0, len(data), step):
        replies += parser.feed(data[at : at + step])
    assert replies[:-1] == [b"OK", -12, b"a\r\nbc", None, [1, b"", [b"x"]], []]
    assert isinstance(replies[-1], ResponseError)


def test_a_command_is_packed_with_its_lengths_in_bytes() -> None:
    """Text as UTF-8, numbers as text."""
    assert packed(("SET", "é", b"\0", 7)) == b"*4\r\n$3\r\nSET\r\n$2\r\n\xc3\xa9\r\n$1\r\n\0\r\n$1\r\n7\r\n"
