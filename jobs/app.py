"""The Celery application: broker, settings and schedule. Tasks are added by the modules' `register`."""

from typing import Any

from celery import Celery
from kombu import Queue

from jobs import key_usage, set_aside, tasks
from jobs.config import Ingress, JobsPlan, Plan
from jobs.handlers import handlers_of
from jobs.kinds.inbox import Webhooks

FLUSH_EVERY_S = 60.0
DEFAULT_QUEUE = "jobs"


def create_app(
    redis_url: str,
    database_url: str,
    extraction: Plan | None = None,
    *,
    ingress: Ingress | None = None,
    erasure_key: str | None = None,
    plan: JobsPlan | None = None,
    webhooks: Webhooks | None = None,
) -> Celery:
    """Return the application on these services; connects to neither.

    `redis_url` is as redis-py takes it (redis://, rediss://, unix://), `database_url` as SQLAlchemy's async engine
    takes it. Without an `extraction` plan, no memories are extracted; without `ingress`, which leads to the embedders,
    no vectors are made. With `erasure_key`, deletions are logged, so that a restored backup cannot bring deleted data
    back. `webhooks` are the applications' receivers of inbox messages.
    """
    app = Celery("bondhu", broker=broker_url(redis_url), set_as_current=False)
    app.conf.update(_CONFIGURATION)
    names = key_usage.register(app, redis_url, database_url)
    app.conf.beat_schedule = {
        # A run that nobody took within its period would only repeat the next one.
        "flush-key-uses": {
            "task": names.flush_key_uses,
            "schedule": FLUSH_EVERY_S,
            "options": {"expires": FLUSH_EVERY_S},
        },
    }
    app.conf.beat_schedule |= set_aside.register(app, database_url, erasure_key)
    if ingress is not None:
        from jobs import embedding_backfill  # numpy and what else a worker without embedders does without

        app.conf.beat_schedule |= embedding_backfill.register(app, database_url, ingress)
    plan = plan or JobsPlan()
    every_s = plan.every_s if extraction is None else min(plan.every_s, extraction.every_s)
    handlers = handlers_of(plan, extraction, webhooks)
    app.conf.beat_schedule |= tasks.register(app, database_url, handlers, plan.schedules, every_s=every_s)
    app.conf.task_queues = [Queue(name) for name in (DEFAULT_QUEUE, *tasks.QUEUES)]
    return app


def broker_url(redis_url: str) -> str:
    """Return a redis-py URL in Celery's form: a Unix socket is redis+socket:// there."""
    return redis_url.replace("unix://", "redis+socket://", 1)


_CONFIGURATION: dict[str, Any] = {
    "task_ignore_result": True,
    "task_acks_late": True,  # a worker that dies leaves its task to the next: tasks must bear to run twice
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # Redis may be away for any time
    # Queues in the order of their names, which is that of priority (`jobs.tasks.QUEUES`); the default is by turns.
    "broker_transport_options": {"global_keyprefix": "bondhu:celery:", "queue_order_strategy": "sorted"},
    "task_default_queue": DEFAULT_QUEUE,
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "timezone": "UTC",
}
