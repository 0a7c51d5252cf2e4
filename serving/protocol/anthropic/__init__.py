"""Anthropic's Messages protocol: requests become chats, and a chat's reply becomes a message or its events."""
