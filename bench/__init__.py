"""Benchmarks: they measure and report; what must hold is asserted by the tests, never here."""
