"""Client of the API of Kubeflow Pipelines, with retries."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from infra.dynamic_provider import UserError
from infra.retry import BUSY, error_message, retry

REQUEST_SECONDS = 30
PAGE_SIZE = 100


class KfpRunState(StrEnum):
    """State of a run in the API: `v2beta1RuntimeState`."""

    UNSPECIFIED = "RUNTIME_STATE_UNSPECIFIED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    PAUSED = "PAUSED"

    @property
    def ended(self) -> bool:
        """Return True if the run will not change any more."""
        return self in (self.SUCCEEDED, self.SKIPPED, self.FAILED, self.CANCELED)


def run_state(run: Any) -> KfpRunState:
    """Return the state of a run; UNSPECIFIED before the API server has seen its workflow."""
    return KfpRunState(run.state or KfpRunState.UNSPECIFIED)


class KfpClient:
    """Clients of the API server at `url`, one for each of its services, from kfp's own package."""

    def __init__(self, url: str) -> None:
        import kfp_server_api as kfp  # type: ignore[import-untyped]

        client = kfp.ApiClient(kfp.Configuration(host=url))
        self.pipelines: Any = kfp.PipelineServiceApi(client)
        self.uploads: Any = kfp.PipelineUploadServiceApi(client)
        self.experiments: Any = kfp.ExperimentServiceApi(client)
        self.runs: Any = kfp.RunServiceApi(client)
        self.recurring_runs: Any = kfp.RecurringRunServiceApi(client)

    def call(self, method: Callable[..., Any], *arguments: Any, allowed_status: int = 0, **options: Any) -> Any:
        """Call a method of one of the clients and return its response; None for the HTTP status `allowed_status`.

        Raises:
            UserError: the server did not respond before the retry timeout, or rejected the request.
        """
        import kfp_server_api as kfp

        def request() -> Any:
            return method(*arguments, **options, _request_timeout=REQUEST_SECONDS)

        try:
            return retry(request, _transient_reason, "Kubeflow Pipelines")
        except kfp.ApiException as error:
            if error.status == allowed_status:
                return None
            raise UserError(f"Kubeflow Pipelines returned {error.status}: {error_message(error)}") from None

    def list_all(
        self, method: Callable[..., Any], field: str, *arguments: Any, name: str = "", **options: Any
    ) -> list[Any]:
        """Return all pages of a list method, newest first.

        Args:
            method: a list method of one of the clients.
            field: the field of the response with the list.
            *arguments: positional arguments of the method.
            name: the display name to filter by; "" for no filter.
            **options: keyword arguments of the method.
        """
        if name:
            predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
            options["filter"] = json.dumps({"predicates": [predicate]})
        items: list[Any] = []
        token = ""
        while True:
            page = self.call(
                method, *arguments, page_token=token, page_size=PAGE_SIZE, sort_by="created_at desc", **options
            )
            items += getattr(page, field) or []
            if not (token := page.next_page_token or ""):
                return items


def _transient_reason(error: Exception) -> str | None:
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, HTTPError):
        return str(error)
    if isinstance(error, ApiException) and error.status in BUSY:
        return f"{error.status} {error_message(error)}"
    return None
