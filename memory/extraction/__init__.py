"""From what a person said to what is remembered of it."""
