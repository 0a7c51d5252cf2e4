"""Benchmarks: they measure and report. Requirements are asserted by tests, never here."""
