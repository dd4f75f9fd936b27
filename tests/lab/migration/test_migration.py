"""The steps of docs/migrate.md: a platform moves from a lab to a vendor's cluster while clients send requests."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from mlplatform.kubeflow import deployment_factory
from mlplatform.required_images import require_images
from pulumi import RunError

from settings.platform import PlatformSettings
from tests.harness import CHECKOUT, Stack, changes, copy_of_checkout, git, temporary_stacks
from tests.lab.cluster import Cluster
from tests.lab.conftest import cluster_of
from tests.lab.network import Network, free_network
from tests.lab.stacks import UP_SECONDS

RANGES = {
    "sepal_length": (4.3, 5.1, 5.8, 6.4, 7.9),
    "sepal_width": (2.0, 2.8, 3.3, 4.4),
    "petal_length": (1.0, 1.6, 4.3, 5.1, 6.9),
    "petal_width": (0.1, 0.3, 1.3, 1.8, 2.5),
}
GRID = [dict(zip(RANGES, values, strict=True)) for values in itertools.product(*RANGES.values())]


@functools.cache
def uses_kubeflow() -> bool:
    """Return True if the bundle has the images of Kubeflow Pipelines, which then runs the pipelines; else Jobs do."""
    try:
        require_images(PlatformSettings(pipelines="kubeflow"))
    except RunError:
        return False
    return True


def predictions(stack: Stack) -> Any:
    """Return classes and probabilities for the grid."""
    response = requests.post(stack.outputs()["score_url"], json=GRID, timeout=30)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


class Clients:
    """Clients that send requests continuously to the first address, and retry failures at the second."""

    def __init__(self, *urls: str) -> None:
        self.urls = list(urls)
        self.answered: Counter[str] = Counter()
        self.lost = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._request) for _ in range(4)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _request(self) -> None:
        while not self._stop.is_set():
            for url in list(self.urls):
                try:
                    if requests.post(url, json=GRID[0], timeout=3).status_code == 200:
                        self.answered[url] += 1
                        break
                except requests.RequestException:
                    continue
            else:
                self.lost += 1
            time.sleep(0.02)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Stack, Cluster]]:
    """Return the old stack, which is up, the new stack, which is not, and the vendor's cluster for the new stack."""
    with ExitStack() as resources:
        vendors = copy_of_checkout(tmp_path_factory.mktemp("vendors"))
        (vendors / "__main__.py").write_text((CHECKOUT / "tests/lab/migration/vendor.py").read_text())
        make_vendor = resources.enter_context(temporary_stacks(vendors))
        vendor_network, old_network = free_network(), free_network()
        settings = _vendor_settings(vendor_network)
        vendor = make_vendor(
            vendor_network.name("vendor"), tmp_path_factory.mktemp("vendor"), settings, up_seconds=UP_SECONDS
        )
        vendor.up()
        data_url = resources.enter_context(_data(vendor_network.gateway))
        make = resources.enter_context(temporary_stacks(copy_of_checkout(tmp_path_factory.mktemp("checkout"))))
        scratch = tmp_path_factory.mktemp("backend")
        old = make(old_network.name("old"), scratch, _old_settings(old_network, data_url), up_seconds=UP_SECONDS)
        old.up()
        new = make(old_network.name("new"), scratch, _new_settings(old, vendor, scratch), up_seconds=UP_SECONDS)
        yield old, new, cluster_of(vendor, tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="module")
def password(site: tuple[Stack, Stack, Cluster]) -> str:
    """Return the password of the old stack's MLflow, read while the stack is up."""
    return str(site[0].outputs("--show-secrets")["tracking_access"]["password"])


def _lab(network: Network) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((CHECKOUT / "Pulumi.lab.yaml").read_text())["config"]
    settings["infra:lab"] = {"size": 1, "subnet": network.subnet}
    settings["platform:load_balancer"]["addresses"] = network.balanced
    settings["platform:allow_plain_http"] = True  # the vendor's cluster is in this computer, too
    return settings


def _vendor_settings(network: Network) -> dict[str, Any]:
    settings = _lab(network)
    settings["infra:kubernetes"] |= {"pod_subnet": "10.40.0.0/16", "service_subnet": "10.112.0.0/16"}
    settings["platform:registry"] = {"port": 5444}
    return {name: value for name, value in settings.items() if name.startswith(("infra", "platform"))}


def _old_settings(network: Network, data_url: str) -> dict[str, Any]:
    settings = _lab(network)
    del settings["platform:blobs"]  # the data stays on an external server
    pipelines = settings["workloads:pipelines"]
    del pipelines["iris-local"]
    for pipeline in pipelines.values():
        pipeline["parameters"] = {"data_url": data_url}
    if uses_kubeflow():
        settings["platform:pipelines"] = "kubeflow"
        pipelines["batch-predict"]["schedule"] = "30 2 * * *"
    return settings


def _new_settings(old: Stack, vendor: Stack, folder: Path) -> dict[str, Any]:
    outputs = vendor.outputs("--show-secrets")
    ca_file, kubeconfig = folder / "ca.crt", folder / "kubeconfig"
    ca_file.write_text(outputs["registry"]["ca"])
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(outputs["kubeconfig"])
    registry = {part: outputs["registry"][part] for part in ("username", "password")}
    return {
        **{name: value for name, value in old.settings.items() if name.startswith(("serving", "workloads"))},
        "infra:cluster": "existing",
        "infra:existing": {"kubeconfig_file": str(kubeconfig)},
        "platform:allow_plain_http": old.settings["platform:allow_plain_http"],
        "platform:pipelines": old.settings["platform:pipelines"],
        "platform:registry": registry | {"url": f"https://{outputs['registry']['host']}", "ca_file": str(ca_file)},
        "platform:storage_class": "vendor-disk",
        "platform:tracking": old.settings["platform:tracking"],
        "workloads:models_from": old.name,
    }


@contextmanager
def _data(address: str) -> Iterator[str]:
    """Yield the URL of the Iris data on a server that both clusters can reach."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(CHECKOUT / "workloads/data"))
    with ThreadingHTTPServer((address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:{server.server_port}/iris.csv"
        server.shutdown()


@pytest.mark.usefixtures("password")
def test_move_to_a_vendor_loses_no_request(site: tuple[Stack, Stack, Cluster]) -> None:
    old, new, cluster = site
    before = predictions(old)
    old_outputs = old.outputs()

    new.up()

    new_outputs = new.outputs()
    assert new_outputs["model"] == old_outputs["model"]
    assert new_outputs["iris_external"]["state"] == "INHERITED"
    assert new_outputs["batch_predict"]["state"] == "SUCCEEDED"
    assert predictions(new) == before
    assert set(changes(new.up())) == {"unchanged"}
    claims = cluster.get("pvc", "-A")["items"]
    assert {claim["spec"]["storageClassName"] for claim in claims} == {"vendor-disk"}
    if uses_kubeflow():
        (schedule,) = cluster.get("scheduledworkflows", "-n", deployment_factory.NAMESPACE)["items"]
        assert schedule["spec"]["trigger"]["cronSchedule"]["cron"] == "0 30 2 * * *"

    old_url, new_url = old_outputs["score_url"], new_outputs["score_url"]
    assert old_url != new_url
    with Clients(old_url, new_url) as clients:
        time.sleep(10)
        clients.urls = [new_url, old_url]  # a client that resolves the changed DNS name
        time.sleep(10)
        clients.urls = [old_url, new_url]  # a client that keeps the old address
        code, output = old.pulumi("destroy", "--yes")
        assert code == 0, output
        time.sleep(5)
    print({url: clients.answered[url] for url in (old_url, new_url)}, f"lost: {clients.lost}")
    assert clients.lost == 0
    assert min(clients.answered[old_url], clients.answered[new_url]) > 100

    assert predictions(new) == before
    assert set(changes(new.up())) == {"unchanged"}


def test_password_of_the_old_stack_is_not_in_state_or_output(site: tuple[Stack, Stack, Cluster], password: str) -> None:
    old, new, _ = site
    texts = [*old.written, *new.written, *(file.read_text() for file in (new.scratch / "state").rglob("*.json"))]
    assert any("ModelsFrom" in text for text in texts)
    assert [text[:200] for text in texts if password in text] == []


def test_move_needs_only_a_settings_file(site: tuple[Stack, Stack, Cluster]) -> None:
    old, new, _ = site
    assert git(new.project, "status", "--porcelain", "--", "workloads", "model_server", "platform", "infra") == ""
    for name in (name for name in old.settings | new.settings if name.startswith(("serving", "workloads"))):
        assert name == "workloads:models_from" or old.settings[name] == new.settings[name]
    removed, added = (
        set(yaml.safe_dump(one.settings).splitlines()) - set(yaml.safe_dump(other.settings).splitlines())
        for one, other in ((old, new), (new, old))
    )
    page = " ".join((CHECKOUT / "docs/benchmarks.md").read_text().split())
    expected = f"{len(removed)} lines of the settings of `a` were removed and {len(added)} were added"
    assert expected in page, (removed, added)
