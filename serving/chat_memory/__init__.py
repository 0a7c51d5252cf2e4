"""Memory in chats: recalls the past for a request, and stores the new turns."""
