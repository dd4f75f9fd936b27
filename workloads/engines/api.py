"""The API server of a cluster, asked with patience."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import yaml

from infra.dynamic import Failure

T = TypeVar("T")
AWAY_SECONDS = 120
"""How long it may be away, as while its machine restarts."""
PAUSE_SECONDS = 2
BUSY = {429, 500, 502, 503, 504}


class Api:
    """A cluster by its kubeconfig; `core` and `batch` are the clients of these groups."""

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes import client, config  # type: ignore[import-untyped]

        self._client = config.new_client_from_config_dict(yaml.safe_load(kubeconfig))
        self.core: Any = client.CoreV1Api(self._client)
        self.batch: Any = client.BatchV1Api(self._client)

    def unless_there(self, create: Callable[[], T]) -> T | None:
        """Create what may exist: None where it does."""
        return self._but(409, create)

    def unless_gone(self, call: Callable[[], T]) -> T | None:
        """Read or delete what may not exist: None where it does not."""
        return self._but(404, call)

    def _but(self, status: int, call: Callable[[], T]) -> T | None:
        from kubernetes.client import ApiException  # type: ignore[import-untyped]

        try:
            return self.patiently(call)
        except ApiException as error:
            if error.status == status:
                return None
            raise

    def patiently(self, call: Callable[[], T]) -> T:
        """Call until there is an answer.

        Raises:
            Failure: it stays away, or refuses the kubeconfig.
            ApiException: any other answer.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        deadline = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return call()
            except ApiException as error:
                if error.status in (401, 403):
                    raise Failure(f"the cluster refuses this: {json.loads(error.body)['message']}") from None
                if error.status not in BUSY:
                    raise
                reason = f"{error.status} {error.reason}"
            except HTTPError as error:
                reason = str(error)
            if time.monotonic() > deadline:
                host = self._client.configuration.host
                raise Failure(
                    f"the API server {host} cannot be used: {reason}. A run that has begun goes on in the cluster, and "
                    "the next `pulumi up` finds it"
                ) from None
            time.sleep(PAUSE_SECONDS)
