"""Turns of chats: stored once however often they are said, and replaced by another answer or an edited message."""
