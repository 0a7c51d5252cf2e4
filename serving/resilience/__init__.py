"""Deadlines, a circuit breaker, Redis clients and graceful shutdown."""
