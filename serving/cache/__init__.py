"""Answers that are kept, and which request may have one."""
