"""A person's embeddings, and the spaces that they are of."""
