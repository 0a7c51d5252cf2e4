"""Generates load on a server, from a separate process."""
