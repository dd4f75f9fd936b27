"""Errors of the model server.

The texts of all errors are public. `detail` of an error may contain what a registry or a file says: it is only logged.
"""

from __future__ import annotations

from typing import Any


class RequestError(Exception):
    """A request that fails, with its HTTP status and one JSON form.

    Attributes:
        status: HTTP status.
        code: identifier for programs, such as `missing_field`.
        field: the input field with the error; None where the error concerns no single field.
        row: its row in a batch, counted from 0; None where the error concerns no single row.
    """

    def __init__(
        self, status: int, code: str, message: str, *, field: str | None = None, row: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.row = row

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of this error."""
        return {"error": str(self), "code": self.code, "field": self.field, "row": self.row}


class ModelRefused(Exception):
    """A model that must not be served; the message says why."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class RepositoryError(OSError):
    """A model that cannot be fetched or tried now; the message says why."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class RepositoryUnavailable(RepositoryError):
    """A registry that does not respond, or responds with a server error."""


class TrialUnfinished(RepositoryError):
    """A trial that ended early, so that it says nothing certain of the model.

    Attributes:
        pause: seconds until the next trial.
    """

    def __init__(self, message: str, detail: str = "", pause: float = 0) -> None:
        super().__init__(message, detail)
        self.pause = pause
