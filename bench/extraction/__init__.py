"""How good the memories are that a model extracts, and what of its faults the checks let through."""
