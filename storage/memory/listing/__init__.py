"""Lists and counts of what there is of a person."""
