"""Models: engines, providers of external models, fetching and quantising weights, and our own small models."""
