"""Detects danger in a person's messages: rules, a classifier, a guard model."""
