"""What may be sent to an external model: consent, detection, redaction."""
