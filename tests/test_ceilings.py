"""What a task and a worker may take, against a real worker process and a real Redis."""

import os
import subprocess
import sys
from pathlib import Path

from jobs.ceilings import resident_bytes
from tests.support.databases.redis_process import RedisProcess

DEADLINE_S = 60.0
WORKER = """
import sys, time
from celery import Celery
from jobs import ceilings
app = Celery("test", broker=sys.argv[1].replace("unix://", "redis+socket://"), set_as_current=False)
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_enable_remote_control=False)
def slow():
    try:
        time.sleep(60)
    except BaseException as problem:
        print(f"cut off by {type(problem).__name__}", flush=True)
        raise
def quick():
    print("quick", flush=True)
def grow():
    app.kept = bytearray(300 * 10**6)
for function in (slow, quick, grow):
    app.task(name=function.__name__, shared=False)(function)
for name in sys.argv[2].split(","):
    app.send_task(name)
held = ceilings.watch(ceilings.Ceilings(task_timeout_s=1, max_memory_mb=250))
app.worker_main(["worker", "--pool=solo", "--without-gossip", "--without-mingle"])
"""


def run(redis: RedisProcess, *tasks: str) -> subprocess.CompletedProcess[str]:
    """Run a worker on these tasks until it ends by itself."""
    command = [sys.executable, "-c", WORKER, redis.url, ",".join(tasks)]
    root = Path(__file__).resolve().parents[1]
    environ = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, env=environ, text=True, capture_output=True, timeout=DEADLINE_S, check=False)


def test_a_task_that_takes_too_long_is_cut_off_and_the_next_one_is_done(redis_process: RedisProcess) -> None:
    """And a worker that holds too much ends with status 0 after the task at hand."""
    ended = run(redis_process, "slow", "quick", "grow")
    assert "cut off by SoftTimeLimitExceeded" in ended.stderr
    assert ended.stderr.index("cut off") < ended.stderr.index("quick")
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "more than 250" in ended.stderr


def test_resident_memory_is_read() -> None:
    """In bytes."""
    assert 5_000_000 < resident_bytes() < 5_000_000_000
