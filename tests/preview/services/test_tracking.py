"""MLflow in a cluster as rendered: network rules of its stores and logins of its clients."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest
from mlplatform.images import image
from mlplatform.images.image import LIBRARIES, Image
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS
from mlplatform.mlflow import MlflowServer, TrackingServer
from mlplatform.mlflow_server.users import PASSWORDS
from mlplatform.platform import ClusterTarget

from settings.platform import TrackingSettings
from settings.serving import ServingSettings
from tests.preview.graph import Graph, run
from tests.preview.rendered import a_cluster, a_registry, text
from tests.preview.test_manifests import plain
from workloads.serving.champion import Champion
from workloads.serving.kubernetes import ModelService, serving_namespace

KEYS = {"access_key": "who", "secret_key": "key"}
AMAZON = {"url": "s3://bucket/files", **KEYS}
ANYWHERE = [*ANY_ADDRESS["to"], {"namespaceSelector": {}}]


def rendered(settings: dict[str, Any], program: Callable[[TrackingServer], object] = lambda _: None) -> Graph:
    """Return what MLflow with these settings creates, and after it `program`."""

    def create() -> None:
        cluster, registry = a_cluster(), a_registry()
        tracking = MlflowServer(
            TrackingSettings.model_validate(settings), cluster, registry, Image(LIBRARIES, registry)
        )
        program(tracking.server)

    return run(create)[0]


def serve(tracking: TrackingServer) -> None:
    serving = serving_namespace(ClusterTarget(a_cluster(), a_registry()), tracking)
    champion = cast(Champion, SimpleNamespace(version=text("3"), sha256=text("0" * 64)))
    ModelService("iris", ServingSettings(), serving, port=8080, champions={"iris": champion}, canary=None)


def egress(settings: dict[str, Any]) -> list[dict[str, Any]]:
    return list(rendered(settings).of("NetworkPolicy")["mlflow"]["spec"].get("egress") or [])


def rule(port: int, to: list[dict[str, Any]]) -> dict[str, Any]:
    return {"to": to, "ports": [{"protocol": "TCP", "port": port}]}


@pytest.mark.parametrize(
    ("settings", "rules"),
    [
        ({}, []),
        ({"database_url": "postgresql://me:word@db.example.com/mlflow"}, [DNS, rule(5432, ANYWHERE)]),
        (
            {"database_url": "postgresql://me:w%40rd@192.0.2.7:6432/mlflow"},
            [DNS, rule(6432, [{"ipBlock": {"cidr": "192.0.2.7/32"}}])],
        ),
        (
            {"database_url": "postgresql://me:word@[2001:db8::7]/mlflow"},
            [DNS, rule(5432, [{"ipBlock": {"cidr": "2001:db8::7/128"}}])],
        ),
        ({"artifacts": AMAZON}, [DNS, rule(443, ANYWHERE)]),
        ({"artifacts": {**AMAZON, "endpoint_url": "http://s3.storage.svc:9000"}}, [DNS, rule(9000, ANYWHERE)]),
        ({"artifacts": {**AMAZON, "endpoint_url": "http://minio.example.com"}}, [DNS, rule(80, ANYWHERE)]),
    ],
    ids=["none", "database", "address", "IPv6 address", "Amazon S3", "port", "plain HTTP"],
)
def test_mlflow_reaches_its_stores_and_name_servers_only(settings: dict[str, Any], rules: list[dict[str, Any]]) -> None:
    assert json.loads(json.dumps(egress(settings))) == json.loads(json.dumps(rules))


def test_only_the_pod_of_mlflow_gets_the_administrators_password() -> None:
    graph = rendered({}, serve)
    netrc = plain(graph.of("Secret")["registry-login"])["stringData"]["netrc"]
    assert netrc == "machine mlflow.mlplatform-tracking.svc login reader password mlflow-reader-password\n"
    secrets = {name: json.dumps(plain(each)) for name, each in graph.of("Secret").items()}
    assert [name for name, content in secrets.items() if '"mlflow-password"' in content] == ["mlflow"]
    pod = plain(graph.of("Deployment")["mlflow"])["spec"]["template"]["spec"]
    (databases,), (server,) = pod["initContainers"], pod["containers"]
    names = {variable["name"] for variable in databases["env"]} & set(PASSWORDS.values())
    assert names == set(PASSWORDS.values())
    assert {variable["name"] for variable in server["env"]} & names == {"MLFLOW_AUTH_ADMIN_PASSWORD"}


def test_confirmed_upgrade_is_an_option_of_the_init_container() -> None:
    def command(settings: dict[str, Any]) -> list[str]:
        pod = rendered(settings).of("Deployment")["mlflow"]["spec"]["template"]["spec"]
        return list(pod["initContainers"][0]["command"])

    assert command({}) == ["python3", "-m", "mlplatform.mlflow_server.prepare"]
    assert command({"upgrade_database": True})[-1] == "--backed-up"


def test_another_stack_gets_the_readers_access() -> None:
    results: list[dict[str, Any]] = []
    rendered({}, lambda tracking: pulumi.Output.all(**tracking.reading_access.inputs()).apply(results.append))
    (access,) = results
    assert (access["username"], access["password"]) == ("reader", "mlflow-reader-password")


def test_containers_of_mlflow_find_the_packages_of_the_image() -> None:
    dockerfile = image.DOCKERFILE.read_text()
    (packages,) = re.findall(r"^COPY packages/ (\S+?)/$", dockerfile, re.MULTILINE)
    pod = rendered({}).of("Deployment")["mlflow"]["spec"]["template"]["spec"]
    for container in [*pod["initContainers"], *pod["containers"]]:
        (path,) = [each["value"] for each in container["env"] if each["name"] == "PYTHONPATH"]
        assert packages in path.split(":"), container["name"]
