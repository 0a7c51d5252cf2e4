"""The doctor: measures the service by thresholds and advises its operator, cheapest step first."""
