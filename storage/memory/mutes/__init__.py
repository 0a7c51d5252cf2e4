"""Muting: single turns and memories, and topics in the person's own words."""
