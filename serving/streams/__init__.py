"""Streams that several clients share, and that a client can resume."""
