"""Embeddings: making them, and making all of them again for another model."""
