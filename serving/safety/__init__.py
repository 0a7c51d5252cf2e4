"""The safety step around every generation, and the notices that the law requires."""
