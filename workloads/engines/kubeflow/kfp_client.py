"""The API of Kubeflow Pipelines, asked with patience."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from infra.dynamic_provider import UserError
from infra.retry import BUSY, error_message, retry

ANSWER_SECONDS = 30
PAGE = 100


class KfpClient:
    """The API server at `url`; its parts are the clients of kfp's own package."""

    def __init__(self, url: str) -> None:
        import kfp_server_api as kfp  # type: ignore[import-untyped]

        client = kfp.ApiClient(kfp.Configuration(host=url))
        self.pipelines: Any = kfp.PipelineServiceApi(client)
        self.uploads: Any = kfp.PipelineUploadServiceApi(client)
        self.experiments: Any = kfp.ExperimentServiceApi(client)
        self.runs: Any = kfp.RunServiceApi(client)
        self.recurring_runs: Any = kfp.RecurringRunServiceApi(client)

    def ask(self, method: Callable[..., Any], *arguments: Any, unless: int = 0, **more: Any) -> Any:
        """Call one of the clients' methods; None where the answer is the HTTP status `unless`.

        Raises:
            UserError: the server stays away, or refuses, with what it says.
        """
        import kfp_server_api as kfp

        try:
            return retry(
                lambda: method(*arguments, **more, _request_timeout=ANSWER_SECONDS), _away, "Kubeflow Pipelines"
            )
        except kfp.ApiException as error:
            if error.status == unless:
                return None
            raise UserError(f"Kubeflow Pipelines answers {error.status}: {error_message(error)}") from None

    def listed(self, method: Callable[..., Any], field: str, *arguments: Any, name: str = "", **more: Any) -> list[Any]:
        """What a method lists in `field`, newest first; where a name is given, those with that name."""
        if name:
            equal = {"operation": "EQUALS", "key": "display_name", "string_value": name}
            more["filter"] = json.dumps({"predicates": [equal]})
        found: list[Any] = []
        token = ""
        while True:
            page = self.ask(method, *arguments, page_token=token, page_size=PAGE, sort_by="created_at desc", **more)
            found += getattr(page, field) or []
            if not (token := page.next_page_token or ""):
                return found


def _away(error: Exception) -> str | None:
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, HTTPError):
        return str(error)
    if isinstance(error, ApiException) and error.status in BUSY:
        return f"{error.status} {error_message(error)}"
    return None
