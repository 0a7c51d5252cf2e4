"""The tables of a person's past, and the statements on them."""
