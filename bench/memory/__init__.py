"""What memory costs: reads, writes, and prompts."""
