"""The processes of `bondhu up`: started, watched, restarted and ended."""
