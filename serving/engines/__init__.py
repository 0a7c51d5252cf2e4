"""The models that run here: where they are, and how they are called."""
