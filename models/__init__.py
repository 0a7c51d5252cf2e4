"""Models: the engine's arguments, quantisation and the demonstration model."""
