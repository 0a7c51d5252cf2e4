"""The companion: a LoRA adapter for a small Llama, its training corpus and its evaluation."""
