"""The wait of `make up` for the door, with the API server replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiException  # type: ignore[import-untyped]
from mlplatform.door import served_files
from mlplatform.door.door_routes import served_models

from infra.errors import UserError
from infra.kubernetes_client import client
from settings.loading import load_settings

FILES = "a" * 64
SERVED = {"files": FILES, "unknown": 0}
AWAY = ApiException(status=503, reason="Service Unavailable")


class Door:
    """An API server with pods of a door, which answer one after the other; the last answer stays."""

    def __init__(self, pods: list[str], answers: list[Any]) -> None:
        self.pods, self.answers, self.asked = pods, answers, 0
        self.refreshed: list[str] = []
        self.core = SimpleNamespace(
            list_namespaced_pod=self.list,
            patch_namespaced_pod=self.patch,
            connect_get_namespaced_pod_proxy_with_path=self.answer,
        )

    def retry(self, call: Callable[[], Any]) -> Any:
        return call()

    def none_if_missing(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except ApiException:
            return None

    def list(self, *_: Any, **__: Any) -> Any:
        deleted, phases = {"old": "2026-01-01"}, {"evicted": "Failed", "completed": "Succeeded"}
        return SimpleNamespace(
            items=[
                SimpleNamespace(
                    metadata=SimpleNamespace(name=name, deletion_timestamp=deleted.get(name)),
                    status=SimpleNamespace(phase=phases.get(name, "Running")),
                )
                for name in self.pods
            ]
        )

    def patch(self, pod: str, _: str, changed: Any) -> None:
        if pod == "gone":
            raise ApiException(status=404, reason="Not Found")
        if pod == "forbidden":
            raise UserError("the cluster refuses this: no rights to patch pods")
        assert served_files.ANNOTATION in changed["metadata"]["annotations"]
        self.refreshed.append(pod)

    def answer(self, pod: str, _: str, path: str, **__: Any) -> Any:
        assert (pod.partition(":")[0] in self.pods, path) == (True, "door/serves")
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(data=answer if isinstance(answer, bytes) else json.dumps(answer).encode())


def test_door_knows_no_models_of_workloads_that_are_not_enabled() -> None:
    assert served_models(load_settings("dev", {}))
    assert served_models(load_settings("dev", {"workloads:enabled": "false"})) == {}


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[Door, float], None]:
    def wait(door: Door, seconds: float) -> None:
        monkeypatch.setattr(client, "KubernetesClient", lambda _: door)
        monkeypatch.setattr(served_files, "PAUSE_SECONDS", 0)
        monkeypatch.setattr(served_files, "SECONDS", seconds)
        served_files.wait_until_served("kubeconfig", FILES)

    return wait


@pytest.mark.parametrize("answer", [AWAY, b"<html>", {"files": "b" * 64, "unknown": 0}, {"files": FILES, "unknown": 1}])
def test_wait_ends_when_each_pod_serves_the_files_and_knows_all_services(
    answer: Any, wait: Callable[[Door, float], None]
) -> None:
    door = Door(["one", "two", "old", "evicted", "completed"], [SERVED, answer, answer, SERVED])
    wait(door, 60)
    assert door.asked == 6  # three rounds, each without the pods that end or have ended


def test_wait_lets_kubelets_update_the_files_of_each_pod(wait: Callable[[Door, float], None]) -> None:
    door = Door(["one", "gone", "two", "old"], [SERVED])
    wait(door, 60)
    assert door.refreshed == ["one", "two"]


def test_refresh_that_the_cluster_refuses_is_left_to_the_kubelets() -> None:
    door: Any = Door(["one", "forbidden"], [SERVED])
    served_files.refresh_files(door)
    assert door.refreshed == ["one"]


def test_wait_without_the_right_to_see_pods_is_a_warning(
    wait: Callable[[Door, float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(served_files.pulumi.log, "warn", warnings.append)
    wait(Door(["one"], [ApiException(status=403, reason="Forbidden")]), 60)
    (warning,) = warnings
    assert "refuses to get pods/proxy in the namespace mlplatform-door (Forbidden)" in warning


@pytest.mark.parametrize(
    ("pods", "answer", "reason"),
    [
        ([], SERVED, "it has no pod"),
        (["one"], AWAY, "the pod one does not answer (Service Unavailable)"),
        (["one"], {"files": "b" * 64, "unknown": 0}, "the pod one does not serve the new files yet"),
        (["one"], {"files": FILES, "unknown": 2}, "the pod one knows no address of 2 services"),
    ],
)
def test_wait_that_ends_too_early_names_the_pod_and_the_reason(
    pods: list[str], answer: Any, reason: str, wait: Callable[[Door, float], None]
) -> None:
    with pytest.raises(UserError) as error:
        wait(Door(pods, [answer]), 0)
    assert reason in str(error.value)
    assert "the next `up` waits again" in str(error.value)
