"""Small models for tests, and what serves them."""
