"""The gateway beside LiteLLM's proxy, in front of the same upstream."""
