"""Work that no request waits for: a Celery worker on Redis."""
