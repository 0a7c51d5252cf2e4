"""The cost of memory: reads, writes, and prompts."""
