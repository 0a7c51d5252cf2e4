"""Staying up while a part is away: deadlines, a circuit breaker, Redis, the end of a worker."""
