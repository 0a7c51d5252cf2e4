"""The quality and speed of recall."""
