"""What can go wrong with a backup, as its reader has to know it.

BackupError
├── Damaged      the file is not what was written: cut, changed, or not one of ours
├── Locked       it cannot be opened with these identities
├── Running      the service runs, and must not while it is restored
└── ToolFailed   pg_dump, pg_restore or psql said no
"""


class BackupError(Exception):
    """A backup cannot be made, read or restored; the text says why."""


class Damaged(BackupError):
    """The file is cut, was changed, or is none of ours."""


class Locked(BackupError):
    """None of the identities opens it."""


class Running(BackupError):
    """Something of the service runs."""


class ToolFailed(BackupError):
    """A program of Postgres' failed; the text has its last words."""
