"""The gateway process: its composition root and its application."""
