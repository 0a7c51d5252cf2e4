"""Common parts of the clients of external services."""
