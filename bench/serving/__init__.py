"""Compares the gateway and its engines with bare vLLM."""
