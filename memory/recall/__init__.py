"""Recall: finds the parts of a person's past that a question is about."""
