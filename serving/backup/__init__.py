"""Backups: one encrypted file each, made while the service runs; and bringing one back."""
