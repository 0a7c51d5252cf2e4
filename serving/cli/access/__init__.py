"""Who may use the service, what people allowed, and what was used."""
