"""Playlists, imported recordings and videos in SQL."""
