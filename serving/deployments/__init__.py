"""What runs inside Ray: the only package that imports it."""
