"""Agents' state in SQL."""
