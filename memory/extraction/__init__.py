"""Extracts memories from what a person said."""
