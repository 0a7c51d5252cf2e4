"""LoRA adapters as files: which revision they are, and whether they fit a base. Imports neither torch nor vLLM."""
