"""The safety step: detection of danger, and fixed answers where no model may speak."""
