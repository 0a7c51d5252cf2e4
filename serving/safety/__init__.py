"""The safety step around every generation, and what the law has people told in between."""
