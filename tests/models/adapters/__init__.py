"""Tests of `models.adapters`."""
