"""Clients of the models that run here: engines, embedder, reranker."""
