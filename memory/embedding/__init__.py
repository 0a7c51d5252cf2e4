"""Vectors: who makes them, and how all are made anew for another model."""
