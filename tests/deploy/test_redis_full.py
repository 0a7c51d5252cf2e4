"""Why the policy matters: a full Redis under `volatile-lru` keeps the queue, under `allkeys-lru` it loses it."""

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from jobs.app import create_app
from serving.resilience.redis_policy import policy_of, refusal
from tests.support.databases.redis_process import RedisProcess

QUEUE, TASKS = "bondhu:celery:jobs", 20
VALUE = b"x" * 65536


@pytest.mark.parametrize(("policy", "keeps"), [("volatile-lru", True), ("allkeys-lru", False), ("noeviction", True)])
def test_a_full_redis(redis_process: RedisProcess, policy: str, keeps: bool) -> None:
    """Cache entries, which have an end, are written past its memory; what is refused at the start is what loses."""
    with Redis.from_url(redis_process.url) as redis:
        redis.config_set("maxmemory", "8mb")
        redis.config_set("maxmemory-policy", policy)
        app = create_app(redis_process.url, "sqlite+aiosqlite://")
        for _ in range(TASKS):
            app.send_task("jobs.flush_key_uses")
        assert redis.llen(QUEUE) == TASKS
        for number in range(1000):
            try:
                redis.set(f"bondhu:answers:{number}", VALUE, ex=600)
            except OutOfMemoryError:
                assert policy == "noeviction"
                break
        evicted = redis.info("stats")["evicted_keys"]
        assert (evicted == 0) == (policy == "noeviction")
        assert (redis.llen(QUEUE) == TASKS) == keeps
    assert (refusal(policy_of(redis_process.url, 1)) is None) == keeps
