"""The Celery application: broker, manners and schedule. Tasks are added by `jobs.tasks.register`."""

from typing import TYPE_CHECKING, Any

from celery import Celery

from jobs import tasks

if TYPE_CHECKING:
    from jobs.embedders import Ingress

FLUSH_EVERY_S = 60.0


def create_app(redis_url: str, database_url: str, *, ingress: "Ingress | None" = None) -> Celery:
    """Return the application on these services; connects to neither.

    `redis_url` is as redis-py takes it (redis://, rediss://, unix://); `database_url` as SQLAlchemy's async engine;
    `ingress` leads to the embedders, None: their task is left out.
    """
    app = Celery("bondhu", broker=broker_url(redis_url), set_as_current=False)
    app.conf.update(_CONFIGURATION)
    names = tasks.register(app, redis_url, database_url)
    app.conf.beat_schedule = {
        # A run that nobody took within its period would only repeat the next one.
        "flush-key-uses": {
            "task": names.flush_key_uses,
            "schedule": FLUSH_EVERY_S,
            "options": {"expires": FLUSH_EVERY_S},
        },
    }
    if ingress is not None:
        from jobs import reembedding  # numpy and what else a worker without embedders does without

        app.conf.beat_schedule |= reembedding.register(app, database_url, ingress)
    return app


def broker_url(redis_url: str) -> str:
    """Return a redis-py address as Celery's transport spells it: a Unix socket is redis+socket:// there."""
    return redis_url.replace("unix://", "redis+socket://", 1)


_CONFIGURATION: dict[str, Any] = {
    "task_ignore_result": True,
    "task_acks_late": True,  # a worker that dies leaves its task to the next: tasks must bear to run twice
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # Redis may be away for any time
    "broker_transport_options": {"global_keyprefix": "bondhu:celery:"},
    "task_default_queue": "jobs",
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "timezone": "UTC",
}
