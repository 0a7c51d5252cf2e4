"""Tests of what `bondhu apply` does to models, on the one stack."""
