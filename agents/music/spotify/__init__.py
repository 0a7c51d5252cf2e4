"""Spotify: playlists of a person are put there. What Spotify tells enters no prompt."""
