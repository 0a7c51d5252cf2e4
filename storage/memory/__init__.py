"""The tables of a person's past, and their statements."""
