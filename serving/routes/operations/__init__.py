"""Routes for operators: health, metrics, usage."""
