"""OpenAI's own endpoints: completions, embeddings, models."""
