"""Sessions with MLflow's REST API for the requests of each `up` and each refresh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlplatform.tracking_access import parse_tracking_access

from workloads.ml.rest_client import MlflowRest
from workloads.mlflow_session import reachable_url


@contextmanager
def mlflow_rest(access: Mapping[str, str]) -> Iterator[MlflowRest]:
    """Yield a client of the server that `access`, an input of a resource, describes.

    Raises:
        UserError: the server runs in a cluster and no pod of it became ready.
    """
    parsed = parse_tracking_access(access)
    with reachable_url(parsed) as url:
        yield MlflowRest(url, parsed.login)
