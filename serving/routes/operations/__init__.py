"""For who operates the service: health, metrics, usage."""
