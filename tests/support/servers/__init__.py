"""Servers that say what a test wants, over the real protocols."""
