"""Proves the service on a GPU in one command, within minutes; `python -m bench.gpu --help`."""
