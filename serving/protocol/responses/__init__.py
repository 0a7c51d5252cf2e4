"""OpenAI's Responses protocol: requests become chats, and a chat's reply becomes a response or its events."""
