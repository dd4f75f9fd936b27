"""The one error type that reaches a client, and its one form."""

from __future__ import annotations

from typing import Any


class RequestError(Exception):
    """A request that cannot be answered as asked.

    `status` is the HTTP status, `code` a word for programs, the message a sentence for people. `field` names
    the input field at fault and `row` its row in a batch, counted from 0; each is None where there is none.
    """

    def __init__(
        self, status: int, code: str, message: str, *, field: str | None = None, row: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.row = row

    def form(self) -> dict[str, Any]:
        """The JSON object that every error answer consists of."""
        return {"error": str(self), "code": self.code, "field": self.field, "row": self.row}


class ModelRefused(Exception):
    """A model that must not be served; the message says what is wrong with it."""
