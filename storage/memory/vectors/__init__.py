"""A person's embeddings, and their spaces."""
