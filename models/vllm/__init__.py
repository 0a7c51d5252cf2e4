"""vLLM's own OpenAI server: its arguments, its process, and middleware that it loads."""
