"""Who may start now, and who waits."""
