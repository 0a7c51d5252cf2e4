"""The `bondhu` command."""
