"""Errors of operations."""


class OperationFailed(Exception):
    """A failed operation; the user sees the message."""


class OperationCancelled(OperationFailed):
    """An operation that the user or a timeout cancelled."""


class HostUnreachable(Exception):
    """A failed attempt to connect; a retry may succeed."""
