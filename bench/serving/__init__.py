"""The gateway and its engines, beside bare vLLM."""
