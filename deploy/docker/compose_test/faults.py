"""What is done to the containers on purpose: memory full of page cache, Redis dropped again and again, each killed."""

import time

from client import Client, Refused, wait_ready
from engine import Engine

READY_WITHIN_S = 420.0
JOB_WITHIN_S = 180.0
FILL_MIB = 1200  # of a file on the volume, beside 1,300 MiB of processes in 1,536


def fill_page_cache(engine: Engine, client: Client) -> None:
    """Write and read a large file in the api's container: the kernel counts its pages to it, and gives them back."""
    path = "/var/lib/bondhu/fill"
    fill = f"head -c {FILL_MIB}M /dev/zero > {path} && cat {path} > /dev/null"
    code, text = engine.inside("api", "sh", "-c", fill)
    if code:
        raise Refused(f"the file could not be written: {text.strip()[:300]}")
    _, took_s = client.chat("I keep a jar of page caches in the cellar.")
    engine.inside("api", "rm", "-f", path)
    print(f"a file of {FILL_MIB} MiB written and read in the api's container; the next chat took {took_s:.1f} s")


def drop_redis(engine: Engine, client: Client, times: int) -> None:
    """Kill Redis so many times in a row, chatting all along; then a job has to be done."""
    slowest = 0.0
    for number in range(times):
        engine.command("kill", "--signal", "KILL", engine.name("redis"))
        _, took_s = client.chat(f"Redis was dropped, said number {number}.")
        slowest = max(slowest, took_s)
        engine.command("start", engine.name("redis"))
        time.sleep(0.5)
    took_s = client.wait_done(client.job("stats"), JOB_WITHIN_S)
    print(f"Redis killed {times} times in a row, a chat after each kill (slowest {slowest:.1f} s); a job requested")
    print(f"  afterwards was done after {took_s:.0f} s")


def kill_each(engine: Engine, client: Client, url: str, services: tuple[str, ...]) -> None:
    """Kill each container once, with a job requested just before; then ask for everything that was acknowledged."""
    for service in services:
        client.chat(f"Just before {service} is killed, I plant a tulip.")
        client.tell(f"Nobody answered this before {service} was killed.")
        job = client.job("stats")
        how = engine.kill(service)
        ready_s = wait_ready(url, READY_WITHIN_S)
        job_s = client.wait_done(job, JOB_WITHIN_S)
        client.chat(f"After {service} was killed, the tulip grows.")
        print(f"{service} killed: {how}; ready after {ready_s:.0f} s, the job done {job_s:.0f} s later", flush=True)
