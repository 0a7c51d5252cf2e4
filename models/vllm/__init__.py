"""vLLM's own OpenAI server: its arguments, its process, its key."""
