"""Supervision of the processes of `bondhu up`: start, probe, restart, stop."""
