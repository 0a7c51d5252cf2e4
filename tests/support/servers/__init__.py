"""Servers with scripted answers, over the real protocols."""
