"""The companion: a LoRA adapter on a small Llama, the corpus that it is trained on and what it was measured to do."""
