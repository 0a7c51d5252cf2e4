"""Agents over HTTP: runs, personas, what a person said to a proposal."""
