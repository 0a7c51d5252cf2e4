"""Errors of making, reading and restoring a backup.

BackupError
├── Damaged      the file is truncated, was changed, or is not a backup of this service
├── Locked       none of the identities can decrypt it
├── Running      the service is running: stop it before a restore
└── ToolFailed   pg_dump, pg_restore or psql failed
"""


class BackupError(Exception):
    """A backup cannot be made, read or restored; the text says why."""


class Damaged(BackupError):
    """The file is truncated, was changed, or is not a backup of this service."""


class Locked(BackupError):
    """None of the identities can decrypt it."""


class Running(BackupError):
    """A process of the service is running."""


class ToolFailed(BackupError):
    """A Postgres client program failed; the text has the end of its error output."""
