"""Spotify: puts a person's playlists there. Data from Spotify never enters a prompt."""
