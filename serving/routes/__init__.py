"""The HTTP API: each module reads a request, calls the collaborators and builds the response."""
