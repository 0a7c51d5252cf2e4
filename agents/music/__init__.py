"""The agent for music."""
