"""A client of a cluster's API server that retries while the server is unavailable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import yaml

from infra.errors import UserError
from infra.retry import BUSY, error_message, retry

T = TypeVar("T")


class KubernetesClient:
    """Clients of one cluster: `core`, `apps` and `batch` for these API groups, `custom` for custom resources."""

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes import client, config  # type: ignore[import-untyped]

        self._client = config.new_client_from_config_dict(yaml.safe_load(kubeconfig))
        self.core: Any = client.CoreV1Api(self._client)
        self.apps: Any = client.AppsV1Api(self._client)
        self.batch: Any = client.BatchV1Api(self._client)
        self.custom: Any = client.CustomObjectsApi(self._client)

    def to_json(self, model: Any) -> Any:
        """Return an object of a client as the JSON value of the API server."""
        return self._client.sanitize_for_serialization(model)

    def none_if_exists(self, create: Callable[[], T]) -> T | None:
        """Return the object that `create` creates, or None if it exists already."""
        return self._none_on_status(409, create)

    def none_if_missing(self, call: Callable[[], T]) -> T | None:
        """Return the result of reading or deleting an object, or None if the object does not exist."""
        return self._none_on_status(404, call)

    def _none_on_status(self, status: int, call: Callable[[], T]) -> T | None:
        from kubernetes.client import ApiException  # type: ignore[import-untyped]

        try:
            return self.retry(call)
        except ApiException as error:
            if error.status == status:
                return None
            raise

    def retry(self, call: Callable[[], T]) -> T:
        """Return the result of `call`, repeated while the API server is unavailable.

        Raises:
            UserError: the API server stays unavailable, or refuses the kubeconfig.
            ApiException: any other error response.
        """
        return retry(call, _transient_reason, f"the API server {self._client.configuration.host}")


def _transient_reason(error: Exception) -> str | None:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, HTTPError):
        return str(error)
    if not isinstance(error, ApiException):
        return None
    if error.status in (401, 403):
        raise UserError(f"the cluster refuses this: {error_message(error)}") from None
    return f"{error.status} {error.reason}" if error.status in BUSY else None
