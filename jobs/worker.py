"""Runs the worker with the schedule inside it: the composition root of background jobs.

    BONDHU_REDIS_URL=... BONDHU_DATABASE_URL=... python -m jobs.worker [--concurrency N] [--schedule FILE]

Addresses come from the environment because they may contain passwords, and every user can read a command line. Other
variables: BONDHU_JOBS and BONDHU_SERVICES (schedules, outside services) with the keys of those services;
BONDHU_EXTRACTION and BONDHU_JOBS_KEY (`jobs.config`), without which nothing is extracted; BONDHU_INGRESS_URL and
BONDHU_CLUSTER_KEY (Ray Serve's private ingress), without which no embeddings are made (`jobs.embedding_backfill`);
BONDHU_WORKER_WORKED (`jobs.worked`); BONDHU_ERASURE_KEY, with which deletions are logged; BONDHU_WEBHOOKS and
BONDHU_WEBHOOK_KEY (`jobs.kinds.inbox`).
"""

import argparse
import logging
import os
from pathlib import Path

from jobs import ceilings, worked
from jobs.app import create_app
from jobs.config import ERASURE_KEY, read_ingress, read_jobs, read_plan, read_webhooks


def main() -> None:
    """Work until SIGTERM; the task at hand is finished first."""
    os.umask(0o077)  # what it writes is its user's alone
    parser = argparse.ArgumentParser(prog="python -m jobs.worker")
    parser.add_argument("--concurrency", type=int, default=1, help="tasks at a time")
    parser.add_argument("--schedule", default="beat-schedule", help="file in which the schedule remembers its runs")
    parser.add_argument("--task-timeout-s", type=float, help="longest time of a task")
    parser.add_argument("--worked-every-s", type=float, default=worked.EVERY_S, help="between two round trips")
    parser.add_argument("--max-tasks", type=int, help="tasks of a process, which then ends")
    parser.add_argument("--max-memory-mb", type=int, help="resident memory; beyond, it ends after its task")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    services = os.environ["BONDHU_REDIS_URL"], os.environ["BONDHU_DATABASE_URL"]
    app = create_app(
        *services,
        read_plan(os.environ),
        ingress=read_ingress(os.environ),
        plan=read_jobs(os.environ),
        erasure_key=os.environ.get(ERASURE_KEY),
        webhooks=read_webhooks(os.environ),
    )
    if file := os.environ.get(worked.FILE):
        app.conf.beat_schedule |= worked.register(app, Path(file), options.worked_every_s)
    # One task at a time needs no pool of processes: 40 MB less. Gossip and mingle are for talk between workers.
    pool = "solo" if options.concurrency == 1 else "prefork"
    how = [f"--pool={pool}", f"--concurrency={options.concurrency}", "--without-gossip", "--without-mingle"]
    if pool == "solo":
        limits = ceilings.Ceilings(options.task_timeout_s, options.max_tasks, options.max_memory_mb)
        app.bondhu_watch = ceilings.watch(limits)  # Celery's signals hold what they call weakly
    else:
        kilobytes = None if options.max_memory_mb is None else options.max_memory_mb * 1000
        app.conf.update(task_time_limit=options.task_timeout_s, worker_max_memory_per_child=kilobytes)
        app.conf.worker_max_tasks_per_child = options.max_tasks
    app.worker_main(["worker", "--beat", f"--schedule={options.schedule}", "--loglevel=INFO", *how])


if __name__ == "__main__":
    main()
