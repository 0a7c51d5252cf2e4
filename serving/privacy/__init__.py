"""What may leave for an external model: consent, detection, redaction."""
