"""The time that words name."""
