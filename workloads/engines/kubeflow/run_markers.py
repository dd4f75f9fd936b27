"""ConfigMaps with the ids of unfinished runs: after a killed `up`, the next one resumes the run."""

from __future__ import annotations

from typing import Any

from mlplatform.job_namespace import PODS

from infra.kubernetes_client.client import KubernetesClient

PIPELINE = "mlplatform/pipeline"
"""Label with the pipeline of a run."""


class RunMarkers:
    """Markers in a namespace, one for each pipeline and key of its run."""

    def __init__(self, api: KubernetesClient, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def run_id(self, pipeline: str, key: str) -> str | None:
        """Return the id of the unfinished run with this key."""
        read = self._api.core.read_namespaced_config_map
        marker = self._api.none_if_missing(lambda: read(_name(pipeline, key), self._namespace))
        return str(marker.data["run_id"]) if marker else None

    def write(self, pipeline: str, key: str, run_id: str) -> None:
        """Create the marker of a run, or replace it."""
        metadata = {"name": _name(pipeline, key), "labels": {**PODS, PIPELINE: pipeline}}
        body: dict[str, Any] = {"metadata": metadata, "data": {"run_id": run_id}}
        core, name = self._api.core, metadata["name"]
        if self._api.none_if_exists(lambda: core.create_namespaced_config_map(self._namespace, body)) is None:
            self._api.retry(lambda: core.replace_namespaced_config_map(name, self._namespace, body))

    def others(self, pipeline: str, key: str) -> dict[str, str]:
        """Return the ids of the pipeline's unfinished runs with other keys, by the names of their markers."""
        listed = self._api.core.list_namespaced_config_map
        found = self._api.retry(lambda: listed(self._namespace, label_selector=f"{PIPELINE}={pipeline}")).items
        own = _name(pipeline, key)
        return {each.metadata.name: str(each.data["run_id"]) for each in found if each.metadata.name != own}

    def delete(self, pipeline: str, key: str) -> None:
        """Delete the marker of a run."""
        self.delete_named(_name(pipeline, key))

    def delete_named(self, name: str) -> None:
        """Delete a marker by its name."""
        self._api.none_if_missing(lambda: self._api.core.delete_namespaced_config_map(name, self._namespace))


def _name(pipeline: str, key: str) -> str:
    return f"run-{pipeline[:40]}-{key[:16]}"
