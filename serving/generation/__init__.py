"""From a request to its answer: local models, external ones, fallbacks, continuation."""
