"""Requests about remembering that people make in a chat, and their execution."""
