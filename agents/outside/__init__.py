"""Clients of services outside: what all of them have in common."""
