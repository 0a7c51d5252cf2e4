"""Tests of serving.safety."""
