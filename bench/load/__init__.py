"""Load on a server, from a process of its own."""
