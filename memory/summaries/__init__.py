"""Summaries of long conversations: by a model, or of the person's own sentences."""
