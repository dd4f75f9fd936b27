"""The door as rendered: its pods, secrets, network rules, and what becomes of the services behind it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlplatform.door import door_pod
from mlplatform.door.door import METALLB_ADDRESS
from mlplatform.platform import ClusterTarget

from airgap.bundle.source_table import load_sources
from policies import pods
from settings.serving import CanarySettings, ServingSettings
from tests.preview.graph import CERTIFICATE, Graph, run
from tests.preview.rendered import a_cluster, a_registry, canary_trial, door, text
from tests.preview.services.test_tracking import rendered as tracking_rendered
from tests.preview.test_manifests import plain
from workloads.serving.champion import Champion
from workloads.serving.kubernetes import ModelService, serving_namespace

HASH = "$2b$10$" + "a" * 53
PROVIDER = {"issuer": "https://id.example.com", "client": "door", "client_secret": "s3cret", "groups": {"ml": "editor"}}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return run(lambda: door({}))[0]


def secret(graph: Graph, name: str) -> dict[str, str]:
    content: dict[str, str] = plain(graph.of("Secret")[name])["stringData"]
    return content


@pytest.mark.parametrize("rule", [pods.unpinned_image, pods.without_limits, pods.root_user, pods.plain_secret])
def test_pods_of_the_door_obey_the_policies(graph: Graph, rule: Callable[[str, Any], Iterator[str]]) -> None:
    deployments = graph.of("Deployment")
    assert set(deployments) == {"audit", "door", "start-page"}
    assert [fault for each in deployments.values() for fault in rule("kubernetes:apps/v1:Deployment", each)] == []


def test_changed_script_replaces_the_pods_and_changed_files_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(door_pod.FOLDER, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(door_pod, "FOLDER", tmp_path)

    def template() -> Any:
        rendered = run(lambda: door({"users": {"anna": {"role": "administrator", "password_hash": HASH}}}))[0]
        return plain(rendered.of("Deployment")["door"])["spec"]["template"]

    def change(name: str) -> None:
        (file,) = tmp_path.rglob(name)
        file.write_text(file.read_text() + "# changed\n")

    before = template()
    change("nginx.conf")
    assert template() == before
    change("serve.sh")
    assert template() != before


def test_images_of_the_door_are_those_of_the_bundle(graph: Graph) -> None:
    table = load_sources()
    bundled = {table.upstream_name(name) for name in table.image}
    containers = graph.of("Deployment")["door"]["spec"]["template"]["spec"]["containers"]
    assert {each["image"] for each in containers if each["name"] != "line-sender"} <= bundled


def test_door_without_users_has_an_operator_with_a_generated_password() -> None:
    graph, outputs = run(lambda: door({}))
    assert json.loads(graph.of("ConfigMap")["door"]["data"]["access.json"])["users"] == {"operator": "administrator"}
    assert secret(graph, "door-sign-on")["users"].startswith("operator:$2b$")
    assert set(outputs) == {"door_url", "door_login", "door_authority"}


def test_users_of_the_settings_sign_in_with_their_hashes() -> None:
    graph, outputs = run(lambda: door({"users": {"anna": {"role": "administrator", "password_hash": HASH}}}))
    assert secret(graph, "door-sign-on")["users"] == f"anna:{HASH}\n"
    assert json.loads(graph.of("ConfigMap")["door"]["data"]["access.json"])["users"] == {"anna": "administrator"}
    assert "door_login" not in outputs


def test_provider_of_the_settings_replaces_the_sign_in_form() -> None:
    graph, _ = run(lambda: door({"oidc": PROVIDER}))
    configuration = secret(graph, "door-sign-on")["oauth2-proxy.cfg"]
    assert 'oidc_issuer_url = "https://id.example.com"' in configuration
    assert 'redirect_url = "https://ml.example.com/oauth2/callback"' in configuration
    assert "htpasswd_file" not in configuration
    rules = json.loads(graph.of("ConfigMap")["door"]["data"]["access.json"])
    assert (rules["provider"], rules["users"], rules["groups"]) == (
        True,
        {"operator": "administrator"},
        {"ml": "editor"},
    )
    assert "s3cret" not in json.dumps(graph.of("ConfigMap"))


def test_keys_and_passwords_are_secrets_alone(graph: Graph) -> None:
    assert "door-key" in secret(graph, "door")["keys.conf"]
    shown = json.dumps([graph.of("ConfigMap"), graph.of("Deployment")])
    assert not [word for word in ("door-key", "door-password", "door-cookie-secret", "Basic ") if word in shown]


def test_acme_account_answers_challenges_before_the_certificate_is_ordered() -> None:
    directory = {"directory": "https://ca.example.com/acme"}
    graph, outputs = run(lambda: door({"acme": directory}))
    pod = graph.of("Deployment")["door"]["spec"]["template"]["spec"]
    variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert variables["THUMBPRINT"] == "account-thumbprint"
    assert {"name": "acme", "secret": {"secretName": "door-acme", "optional": True}} in pod["volumes"]
    ordered = plain(graph.of("AcmeCertificate")["acme-certificate"])
    assert ordered.items() >= {**directory, "host": "ml.example.com", "url": "http://ml.example.com"}.items()
    issued = secret(graph, "door-acme")
    assert (issued["tls.crt"], issued["tls.key"]) == (CERTIFICATE, "acme-key")
    assert issued["metrics"] == secret(graph, "door")["metrics"]
    assert "account-key" not in json.dumps([graph.of("ConfigMap"), graph.of("Deployment"), outputs])
    assert "door_authority" not in outputs


def test_address_of_the_settings_is_requested_from_the_load_balancer() -> None:
    def requested(settings: dict[str, Any]) -> str | None:
        service = run(lambda: door(settings))[0].of("Service")["door"]
        assert service["spec"]["type"] == "LoadBalancer"
        address: str | None = service["metadata"]["annotations"].get(METALLB_ADDRESS)
        return address

    assert requested({}) is None
    assert requested({"host": "10.20.0.219"}) == "10.20.0.219"
    assert requested({"address": "10.20.0.218"}) == "10.20.0.218"


def test_door_with_an_address_of_metallb_sees_the_addresses_of_callers(graph: Graph) -> None:
    local = run(lambda: door({}, sees_callers=True))[0].of("Service")["door"]["spec"]
    assert local["externalTrafficPolicy"] == "Local"
    assert "externalTrafficPolicy" not in graph.of("Service")["door"]["spec"]


@pytest.mark.parametrize(("pods_reached", "names"), [("start-page", ["door"]), ("audit", ["door", "start-page"])])
def test_only_pods_of_the_door_reach_the_start_page_and_the_audit_log(
    graph: Graph, pods_reached: str, names: list[str]
) -> None:
    (rule,) = graph.of("NetworkPolicy")[pods_reached]["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}} for name in names]


@pytest.mark.parametrize(
    ("canary", "tracks"),
    [
        ({"version": 2}, {"iris-server": None}),
        ({"version": 2, "weight": 10}, {"iris-server": "stable", "iris-server-canary": "canary"}),
        ({"version": 2, "mirror": True}, {"iris-server": "stable", "iris-server-canary": "canary"}),
    ],
)
def test_canary_with_a_weight_or_mirror_has_a_service(canary: dict[str, Any], tracks: dict[str, str | None]) -> None:
    settings = ServingSettings.model_validate({"canary": canary})

    def serve(tracking: Any) -> None:
        champion = cast(Champion, SimpleNamespace(version=text("3"), sha256=text("0" * 64)))
        shared = serving_namespace(ClusterTarget(a_cluster(), a_registry(), door=True), tracking)
        ModelService("iris-server", settings, shared, port=8080, champions={"iris": champion}, canary=settings.canary)

    services = tracking_rendered({}, serve).of("Service")
    selected = {name: each["spec"]["selector"].get("mlplatform/track") for name, each in services.items()}
    assert {name: track for name, track in selected.items() if name != "mlflow"} == tracks


@pytest.mark.parametrize("canary", [{"weight": 10}, {"mirror": True}])
def test_canary_gets_requests_during_its_trial_alone(canary: dict[str, Any]) -> None:
    def mentions(state: str) -> set[str]:
        graph, _ = run(lambda: door({}, CanarySettings(version=4, **canary), state))
        files = graph.of("ConfigMap")["door"]["data"]
        return {name for name in ("services", "releases.conf", "routes.conf") if "canary" in files[name]}

    assert {"services", "routes.conf" if "mirror" in canary else "releases.conf"} <= mentions("testing")
    assert mentions("taken back") == set()


@pytest.mark.parametrize(("state", "pods"), [("testing", 2), ("taken back", 0)])
def test_pods_of_a_canary_run_during_its_trial_and_have_the_champion_too(state: str, pods: int) -> None:
    canary = CanarySettings(version=4, replicas=2)

    def serve(tracking: Any) -> None:
        champion = cast(Champion, SimpleNamespace(version=text("3"), sha256=text("0" * 64)))
        shared = serving_namespace(ClusterTarget(a_cluster(), a_registry()), tracking)
        champions = {"iris": champion}
        ModelService(
            "iris", ServingSettings(), shared, port=80, champions=champions, canary=canary, trial=canary_trial(state)
        )

    deployments = tracking_rendered({}, serve).of("Deployment")
    spec = deployments["iris-canary"]["spec"]
    assert spec["replicas"] == pods
    pod = spec["template"]["spec"]
    fetched = {
        each["name"]: variable["value"]
        for each in pod["initContainers"]
        for variable in each["env"]
        if variable["name"] == "MODEL_SERVER_VERSION"
    }
    assert fetched == {"fetch": "4", "fetch-champion": "3"}
    variables = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert variables["MODEL_SERVER_CHAMPION_DIRECTORY"] == "/models/iris/3"
    stable = deployments["iris"]["spec"]["template"]["spec"]
    assert [each["name"] for each in stable["initContainers"]] == ["fetch"]


@pytest.mark.parametrize("behind_door", [True, False])
def test_only_the_door_and_prometheus_reach_models_behind_a_door(behind_door: bool) -> None:
    def serve(tracking: Any) -> None:
        target = ClusterTarget(a_cluster(), a_registry(), door=behind_door)
        champion = cast(Champion, SimpleNamespace(version=text("3"), sha256=text("0" * 64)))
        shared = serving_namespace(target, tracking)
        ModelService("iris-server", ServingSettings(), shared, port=8080, champions={"iris": champion}, canary=None)

    rules = tracking_rendered({}, serve).of("NetworkPolicy")["iris-server"]["spec"]["ingress"]
    (predictions,) = [rule for rule in rules if rule["ports"][0]["port"] == 5005]
    names = [
        name
        for peer in predictions.get("from", [])
        for expression in peer["namespaceSelector"]["matchExpressions"]
        for name in expression["values"]
    ]
    assert names == (["mlplatform-door", "mlplatform-monitoring"] if behind_door else [])
