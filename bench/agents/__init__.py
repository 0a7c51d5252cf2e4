"""How long agents take on the default model, what they get right, and a peer with the same tools on the same model."""
