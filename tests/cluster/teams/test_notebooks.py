"""Notebooks in a cluster with two teams: servers, their rights and network, and their end when they are idle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket
from mlplatform.notebooks.notebook_space import HUB_PORT, NAMESPACE, SERVER_PODS

from infra.kubernetes_client.client import KubernetesClient
from tests.cluster.conftest import pods
from tests.harness import CHECKOUT, Stack
from tests.notebook_client import NotebookClient
from tests.waiting import until

from .team_stack import SCIENCE, SHOP, UPLOAD, signed_in, two_teams

NOTEBOOKS = {"idle_minutes": 2, "storage_gb": 1, "sizes": {"small": {"cpu": 1, "memory_gb": 2}}}
CHAMPION = """
import mlflow, pandas
champion = mlflow.pyfunc.load_model("models:/iris@champion")
flower = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
print(champion.predict(pandas.DataFrame([flower])).to_string())
"""
PIPELINE = """
import io, pandas
from kfp import dsl
from workloads.components import component
from workloads.notebook import read_blob, run_pipeline

@component
def mean_of(values: list) -> float:
    import statistics
    return statistics.fmean(values)

@dsl.pipeline(name="mean-length")
def mean_length(values: list) -> float:
    return mean_of(values=values).output

lengths = pandas.read_csv(io.BytesIO(read_blob("iris.csv")))["petal_length"].head(20).tolist()
print("mean", run_pipeline(mean_length, values=lengths).outputs)
"""
READABLE = """
import mlflow
for name in ("iris-local", "iris-external"):
    try:
        print(name, mlflow.get_experiment_by_name(name) is not None)
    except mlflow.MlflowException:
        print(name, "refused")
"""
CONTAINERS = """
from workloads.notebook import read_blob
for container in ("", "shop-data", "datasets", "science-data"):
    try:
        print(container or "default", len(read_blob("iris.csv", container)))
    except SystemExit as error:
        print(container, "refused" if "refuses the token" in str(error) else error)
"""
CONNECT = """
import socket, urllib.error, urllib.request
def status(url, **headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
"""


@pytest.fixture(scope="module")
def outputs(whole: Stack | None) -> Iterator[dict[str, Any]]:
    if whole is None:
        pytest.skip("notebooks need settings that the environment's cluster does not have")
    with two_teams(whole, **{"platform:notebooks": NOTEBOOKS}) as found:
        yield found


@pytest.fixture(scope="module")
def person(outputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], NotebookClient]:
    authority = tmp_path_factory.mktemp("door") / "ca.crt"

    def client(name: str) -> NotebookClient:
        return NotebookClient(str(outputs["door_url"]).rstrip("/"), signed_in(outputs, name, authority), name)

    return client


@pytest.fixture(scope="module")
def sam(person: Callable[[str], NotebookClient]) -> NotebookClient:
    client = person("sam")
    client.start(profile="shop--small")
    return client


def server_pod(api: KubernetesClient) -> Any:
    (found,) = pods(api, SHOP, SERVER_PODS)
    return found


def test_cell_reads_the_registry_with_the_rights_of_the_team(sam: NotebookClient) -> None:
    assert " setosa " in sam.execute(CHAMPION)
    assert sam.execute(READABLE).splitlines() == ["iris-local refused", "iris-external True"]


def test_cell_reads_the_container_of_the_team_and_the_shared_one(sam: NotebookClient) -> None:
    size = (CHECKOUT / UPLOAD["iris.csv"]).stat().st_size
    assert sam.execute(CONTAINERS).splitlines() == [
        *(f"{container} {size}" for container in ("default", "shop-data", "datasets")),
        "science-data refused",
    ]


def test_cell_runs_a_pipeline_that_mlflow_records(sam: NotebookClient) -> None:
    assert "mean {'Output': 1." in sam.execute(PIPELINE, timeout=300)
    query = "import mlflow; print(mlflow.search_runs(experiment_names=['mean-length'])[['status', 'tags.started_in']])"
    recorded = sam.execute(query)
    assert "FINISHED" in recorded
    assert "notebook" in recorded


def test_server_is_in_the_namespace_of_the_team_and_its_manifest_has_no_login(
    sam: NotebookClient, api: KubernetesClient
) -> None:
    pod = server_pod(api)
    assert pods(api, SCIENCE, SERVER_PODS) == []
    assert pod.spec.containers[0].resources.limits["cpu"] == "1"
    manifest = json.dumps(api.core.api_client.sanitize_for_serialization(pod))
    login = sam.execute("import os; print(os.environ['MLFLOW_TRACKING_PASSWORD'])").strip()
    assert len(login) > 20
    assert login not in manifest
    found = sam.execute(
        f"import subprocess; print(subprocess.run(['grep', '-rl', {login!r}, '/home'], capture_output=True))"
    )
    assert "returncode=1" in found, found


def test_server_has_no_right_in_the_cluster(sam: NotebookClient, outputs: dict[str, Any]) -> None:
    assert (
        sam.execute("import os; print(os.path.exists('/var/run/secrets/kubernetes.io'), os.getuid())")
        == "False 10001\n"
    )
    spoofed = {"X-Door-User": "tess", "X-Door-Role": "administrator", "X-Door-Key": "guess"}
    hub = f"http://notebooks.{NAMESPACE}.svc"
    calls = {
        "hub": f"status('{hub}:{HUB_PORT}/notebooks/hub/home', **{spoofed!r})",
        "proxy": f"status('{hub}:8000/notebooks/user/tess/lab')",
        "api": "status('https://kubernetes.default.svc/version')",
    }
    code = CONNECT + "\n".join(f"print({name!r}, {call})" for name, call in calls.items())
    assert sam.execute(code).splitlines() == ["hub 403", "proxy 0", "api 0"]


def test_person_of_another_team_gets_nothing(sam: NotebookClient, person: Callable[[str], NotebookClient]) -> None:
    tess = person("tess")
    for path in ("/lab", "/api/contents"):
        assert tess.session.get(sam.server + path, timeout=30).status_code == 403, path
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        tess.connect(f"{sam.server}/api/events/subscribe")
    form = tess.session.get(f"{tess.url}/notebooks/hub/spawn", timeout=30)
    assert "team science" in form.text
    assert "shop" not in form.text
    anna = person("anna")
    refused = anna.session.get(f"{anna.url}/notebooks/hub/spawn", timeout=30)
    assert (refused.status_code, "you are in none" in refused.text) == (403, True)


def test_idle_server_stops_and_its_volume_stays(sam: NotebookClient, api: KubernetesClient) -> None:
    assert "champion.ipynb" in sam.execute("import os; print(os.listdir(os.path.expanduser('~/examples')))")
    sam.execute("import pathlib; pathlib.Path.home().joinpath('kept.txt').write_text('mine')")
    until(sam.stopped, seconds=420, what="the end of the idle server")
    assert pods(api, SHOP, SERVER_PODS) == []
    assert [claim.metadata.name for claim in api.core.list_namespaced_persistent_volume_claim(SHOP).items]
    sam.start(profile="shop--small")
    assert sam.execute("import pathlib; print(pathlib.Path.home().joinpath('kept.txt').read_text())") == "mine\n"
