"""Generation: local and external models, agents, fallback and continuation."""
