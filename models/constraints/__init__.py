"""Which constraints on an answer an engine enforces."""
