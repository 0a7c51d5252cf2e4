"""What of a person's past a question is about."""
