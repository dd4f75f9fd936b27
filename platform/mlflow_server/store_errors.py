"""Errors of MLflow's stores that say that a change was made before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXISTS = "RESOURCE_ALREADY_EXISTS"
MISSING = "RESOURCE_DOES_NOT_EXIST"


@contextmanager
def ignoring(code: str) -> Iterator[None]:
    """Ignore errors with this code of MLflow: another request has made the same change. Other errors are raised."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise
