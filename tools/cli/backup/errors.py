"""Errors of backups and restores."""


class BackupError(Exception):
    """A backup or restore that failed, or that was refused; the message says what to do."""


class RepositoryLocked(BackupError):
    """A repository that another program used during the whole time of all tries."""
