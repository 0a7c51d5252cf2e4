"""Admission control: a bounded, fair queue in front of each model."""
