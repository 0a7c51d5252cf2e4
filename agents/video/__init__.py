"""The agent for videos."""
