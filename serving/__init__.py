"""Bondhu as a service: gateway, supervisor, command line, and what Ray Serve runs."""
