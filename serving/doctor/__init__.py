"""What the service would tell its operator: how it is, by thresholds, and what to do about it, cheapest first."""
