"""The API server of a cluster, asked with patience."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import yaml

from infra.dynamic_provider import UserError
from infra.retry import BUSY, error_message, retry

T = TypeVar("T")


class KubernetesClient:
    """A cluster by its kubeconfig; `core`, `apps` and `batch` are the clients of these groups, `custom` that of all."""

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes import client, config  # type: ignore[import-untyped]

        self._client = config.new_client_from_config_dict(yaml.safe_load(kubeconfig))
        self.core: Any = client.CoreV1Api(self._client)
        self.apps: Any = client.AppsV1Api(self._client)
        self.batch: Any = client.BatchV1Api(self._client)
        self.custom: Any = client.CustomObjectsApi(self._client)

    def plain(self, found: Any) -> Any:
        """What a client gave, as the API server's JSON has it."""
        return self._client.sanitize_for_serialization(found)

    def unless_there(self, create: Callable[[], T]) -> T | None:
        """Create what may exist: None where it does."""
        return self._but(409, create)

    def unless_gone(self, call: Callable[[], T]) -> T | None:
        """Read or delete what may not exist: None where it does not."""
        return self._but(404, call)

    def _but(self, status: int, call: Callable[[], T]) -> T | None:
        from kubernetes.client import ApiException  # type: ignore[import-untyped]

        try:
            return self.retry(call)
        except ApiException as error:
            if error.status == status:
                return None
            raise

    def retry(self, call: Callable[[], T]) -> T:
        """Call until there is an answer.

        Raises:
            UserError: it stays away, or refuses the kubeconfig.
            ApiException: any other answer.
        """
        return retry(call, _away, f"the API server {self._client.configuration.host}")


def _away(error: Exception) -> str | None:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, HTTPError):
        return str(error)
    if not isinstance(error, ApiException):
        return None
    if error.status in (401, 403):
        raise UserError(f"the cluster refuses this: {error_message(error)}") from None
    return f"{error.status} {error.reason}" if error.status in BUSY else None
