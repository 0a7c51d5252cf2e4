"""The HTTP surface: each module reads a request, asks the collaborators and shapes the answer."""
