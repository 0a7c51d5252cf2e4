"""Runs the worker with the schedule inside it: the composition root of this side.

    BONDHU_REDIS_URL=... BONDHU_DATABASE_URL=... python -m jobs.worker [--concurrency N] [--schedule FILE]

Addresses come from the environment because they may hold passwords, and a command line is everybody's to read. So do
BONDHU_EXTRACTION, without which nothing is extracted, and BONDHU_JOBS_KEY (`jobs.plan`); and BONDHU_INGRESS_URL and
BONDHU_CLUSTER_KEY (Ray Serve's private ingress), without which no embeddings are made (`jobs.reembedding`).
"""

import argparse
import logging
import os

from jobs.app import create_app
from jobs.plan import read_ingress, read_plan


def main() -> None:
    """Work until SIGTERM; the task at hand is finished first."""
    os.umask(0o077)  # what it writes is its user's alone
    parser = argparse.ArgumentParser(prog="python -m jobs.worker")
    parser.add_argument("--concurrency", type=int, default=1, help="tasks at a time")
    parser.add_argument("--schedule", default="beat-schedule", help="file in which the schedule remembers its runs")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    services = os.environ["BONDHU_REDIS_URL"], os.environ["BONDHU_DATABASE_URL"]
    app = create_app(*services, read_plan(os.environ), ingress=read_ingress(os.environ))
    # One task at a time needs no pool of processes: 40 MB less. Gossip and mingle are for talk between workers.
    pool = "solo" if options.concurrency == 1 else "prefork"
    how = [f"--pool={pool}", f"--concurrency={options.concurrency}", "--without-gossip", "--without-mingle"]
    app.worker_main(["worker", "--beat", f"--schedule={options.schedule}", "--loglevel=INFO", *how])


if __name__ == "__main__":
    main()
