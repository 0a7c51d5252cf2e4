"""The HTTP API of what is remembered of people."""
