"""Ray Serve from outside: what should run there, and how it gets there."""
