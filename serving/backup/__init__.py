"""Backups: each is one encrypted file, made while the service runs; and restoring one."""
