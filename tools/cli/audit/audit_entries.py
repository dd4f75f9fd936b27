"""Entries of commands in the audit log of a stack: behind its door, else in a file of this computer."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlplatform.audit_log.audit_store import AuditEntry, AuditSearch, AuditStore

from infra.errors import UserError
from infra.local.computer_user import computer_user
from tools.bootstrap.console import log_message
from tools.bootstrap.paths import cache_directory
from tools.cli.cluster_access import AccessError
from workloads.ml.champion_history import CANARY_PREFIX, champion_changes

TIMEOUT_SECONDS = 30
BATCH = 100
"""Entries in one request, whose body is limited."""
DAYS = 365
"""Days for which the file of this computer keeps entries."""


def record_action(stack: str, outputs: Mapping[str, Any], action: str, target: str, detail: str = "") -> None:
    """Add an action of a command. While the audit log behind the door is away, a file of this computer keeps it."""
    _local_store(stack).add([AuditEntry(int(time.time()), computer_user(), action, target, detail=detail)])
    if "door_url" in outputs:
        try:
            with _door_log(outputs) as log:
                log.take_over(stack)
        except AccessError as error:
            log_message(f"{error}; `make audit` writes the entry later")


def record_champions(stack: str, outputs: Mapping[str, Any]) -> None:
    """Add the changes of champions that MLflow has and the audit log has not.

    Raises:
        AccessError: MLflow or the audit log does not respond.
    """
    with audit_log(stack, outputs) as log:
        log.add_once(list(_champion_entries(outputs)))


class _DoorLog:
    """The audit log behind the door at `url`."""

    def __init__(self, url: str, key: str) -> None:
        import requests

        self._url = f"{url}/entries"
        self._session = requests.Session()
        self._session.headers["X-Door-Key"] = key

    def add_once(self, entries: Sequence[AuditEntry]) -> None:
        """Add those entries that the log has not."""
        for start in range(0, len(entries), BATCH):
            content = {"entries": [asdict(each) for each in entries[start : start + BATCH]]}
            self._session.post(self._url, json=content, timeout=TIMEOUT_SECONDS).raise_for_status()

    def search(self, search: AuditSearch) -> list[dict[str, Any]]:
        """Return entries, the newest first."""
        answer = self._session.get(self._url, params=asdict(search), timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["entries"]
        return found

    def take_over(self, stack: str) -> None:
        """Add the entries of this computer's file, and delete them there; entries added meanwhile stay."""
        local = _local_store(stack)
        rows = list(local.rows())
        self.add_once([AuditEntry(*values) for *values, _count in rows])
        local.delete(rows)


@contextmanager
def audit_log(stack: str, outputs: Mapping[str, Any]) -> Iterator[AuditStore | _DoorLog]:
    """Yield the audit log of a stack, with the entries that this computer kept.

    Raises:
        AccessError: the audit log behind the door does not respond.
    """
    if "door_url" not in outputs:
        yield _local_store(stack)
        return
    with _door_log(outputs) as log:
        log.take_over(stack)
        yield log


@contextmanager
def _door_log(outputs: Mapping[str, Any]) -> Iterator[_DoorLog]:
    import requests
    from kubernetes.client import ApiException  # type: ignore[import-untyped]
    from mlplatform.door.audit import NAME, NAMESPACE, PORT
    from mlplatform.door.start_page import KEY
    from mlplatform.door.start_page import NAME as START_PAGE

    from infra.kubernetes_client.client import KubernetesClient
    from infra.kubernetes_client.port_forward import PodTarget, port_forward

    api = KubernetesClient(outputs["kubeconfig"])
    try:
        secret = api.retry(lambda: api.core.read_namespaced_secret(START_PAGE, NAMESPACE))
        target = PodTarget(outputs["kubeconfig"], NAMESPACE, f"app.kubernetes.io/name={NAME}", PORT)
        with port_forward(target) as url:
            yield _DoorLog(url, base64.b64decode(secret.data[KEY]).decode())
    except (ApiException, UserError, requests.RequestException) as error:
        raise AccessError(f"the audit log of the door does not respond: {error}") from None


def _local_store(stack: str) -> AuditStore:
    """Return the file of this computer. It is not in the stack's data, which `make down` may delete."""
    file = Path(cache_directory() / "audit" / f"{stack}.sqlite")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = AuditStore(file)
    store.forget(DAYS)
    return store


def _champion_entries(outputs: Mapping[str, Any]) -> Iterator[AuditEntry]:
    """Yield an entry for each change of a champion, and for each canary that was taken back."""
    import requests

    from workloads.mlflow_rest import mlflow_rest
    from workloads.model_transfer.model_transfer import ACCESS

    try:
        with mlflow_rest(outputs[ACCESS]) as registry:
            for model in registry.models():
                tags = registry.model_tags(model)
                for action, prefix in (("set the champion", ""), ("took the canary back", CANARY_PREFIX)):
                    for change in champion_changes(tags, prefix) if prefix else champion_changes(tags):
                        target = f"{model}/{change.version or 'none'}"
                        yield AuditEntry(
                            int(change.time.timestamp()), change.author, action, target, detail=change.reason
                        )
    except (requests.RequestException, UserError) as error:
        raise AccessError(f"MLflow does not respond: {error}") from None
