"""Memory inside a chat: what is recalled for it, and what is remembered of it."""
