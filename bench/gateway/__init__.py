"""Compares the gateway with LiteLLM's proxy, in front of the same upstream."""
