"""Ray Serve's configuration: what should run, and how it is applied."""
