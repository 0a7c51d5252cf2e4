"""How good recall is, and how fast."""
