"""Containers of teams in a real emulator of Azure Blob Storage: who reads and writes which, and by what token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
import requests
from mlplatform.blob_store import _BlobProvider, blob_store
from mlplatform.blob_token import _ContainerTokenProvider
from mlplatform.engine_config import JobEngineConfig
from mlplatform.mlflow import TeamLogins, TrackingServer
from mlplatform.platform import Platform
from mlplatform.team import Team
from mlplatform.tracking_access import TrackingAccess
from pulumi.runtime import rpc

from infra.dynamic_provider import DynamicProvider
from settings.paths import PROJECT
from settings.services.blob_settings import BlobSettings
from settings.services.s3_settings import DataStoreSettings
from settings.services.team_settings import TeamSettings
from settings.workloads import PipelineSettings
from tests.preview.graph import Graph, run
from tests.preview.rendered import a_cluster, a_registry, text
from tests.store_servers import BLOB_KEY, blob_server
from tools.cli.backup.contents.container_copy import container_folder, download_container, upload_container
from tools.cli.backup.fingerprint import _blobs
from tools.cli.backup.stack_state import container_logins
from workloads.deploy import _Workloads
from workloads.ml.data.storage import TOKEN_VARIABLE, read_data
from workloads.ml.errors import StepError
from workloads.notebook import PRESETS, read_blob
from workloads.notebook_servers import _variables
from workloads.runs.origin import data_fingerprint
from workloads.runs.step_credentials import step_credentials

SHARED_VARIABLE = f"{TOKEN_VARIABLE}_DATASETS"
FILES = {"datasets": "pyproject.toml", "shop-data": "README.md", "science-data": "CONTRIBUTING.md"}
"""Content of the blob `rows` of each container."""
TEAMS = {"shop": "shop-data", "science": "science-data", "guests": ""}
Credentials = dict[str, dict[str, str]]
"""Environment variables of the steps of each team; of shared pipelines for ""."""


class Account(Graph):
    """Mocks that create blobs and tokens as their providers do."""

    def _outputs(self, args: pulumi.runtime.MockResourceArgs) -> dict[str, Any]:
        providers: dict[str, type[DynamicProvider]] = {"Blob": _BlobProvider, "ContainerToken": _ContainerTokenProvider}
        if provider := providers.get(args.typ.split(":")[-1]):
            inputs = {name: rpc.unwrap_rpc_secret(value) for name, value in args.inputs.items()}
            return dict(provider().create(inputs).outs or {})
        return super()._outputs(args)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an account of a running emulator."""
    with blob_server(tmp_path_factory.mktemp("azurite")) as url:
        yield url


def platform(account: str) -> Platform:
    """Return the platform with a shared container, and three teams of which two have a container."""
    shared = blob_store(
        BlobSettings.model_validate(
            {"account_url": account, "account_key": BLOB_KEY, "upload": {"rows": "pyproject.toml"}}
        ),
        None,
        Path("/nowhere"),
    )
    logins = TeamLogins(("writer", text("word")), ("reader", text("word")))
    engine: JobEngineConfig[pulumi.Input[str]] = JobEngineConfig("", "", "", "")
    cluster, registry = a_cluster(), a_registry()
    teams: dict[str, Team] = {}
    for name, container in TEAMS.items():
        given: dict[str, Any] = {"people": ["sam"]}
        if container:
            given["blobs"] = {"container": container, "upload": {"rows": FILES[container]}}
        if name == "shop":
            given["s3"] = s3_store("shop")
        settings = TeamSettings.model_validate(given)
        teams[name] = Team(name, settings, engine, logins, cluster, registry, [], shared)
    tracking = TrackingServer(text(), TrackingAccess(text()), [])
    shared_s3 = DataStoreSettings.model_validate(s3_store("all"))
    url = text("http://mlflow")
    return Platform(engine, [], url, tracking, shared, Path("/nowhere"), teams=teams, s3=shared_s3)


def s3_store(owner: str) -> dict[str, str]:
    return {"endpoint_url": f"https://{owner}.example.com", "access_key": owner, "secret_key": f"key-of-{owner}"}


def arguments(created: Platform, team: Team | None) -> dict[str, pulumi.Input[Any]]:
    """Return what a pipeline of the team gets without any setting."""
    workloads = _Workloads(created, "", {}, None, {}, {}, None, adopt_champions=False)
    return workloads._platform_parameters("train", PipelineSettings(), team)


@pytest.fixture(scope="module")
def values(account: str) -> dict[str, Any]:
    """Return the credentials of steps, the variables of notebooks, arguments and fingerprints, by team."""

    def program() -> dict[str, Any]:
        created = platform(account)
        teams: dict[str, Team | None] = {"": None, **created.teams}
        reads = PipelineSettings.model_validate({"parameters": {"blob": "rows"}})
        reads_shared = PipelineSettings.model_validate({"parameters": {"blob": "rows", "container": "datasets"}})
        elsewhere = PipelineSettings.model_validate({"parameters": {"blob": "rows", "account_url": "https://other"}})
        return {
            name: {
                "credentials": dict(step_credentials(created, team)),
                "notebook": _variables(created, team),
                "arguments": arguments(created, team),
                "fingerprints": [
                    data_fingerprint(each, created.containers(team)) for each in (reads, reads_shared, elsewhere)
                ],
            }
            for name, team in teams.items()
        }

    found: dict[str, Any] = run(program, graph=Account())[1]
    return found


@pytest.fixture(scope="module")
def tokens(values: dict[str, Any]) -> Credentials:
    return {
        team: {name: value for name, value in each["credentials"].items() if name.startswith(TOKEN_VARIABLE)}
        for team, each in values.items()
    }


def opened(account: str, token: str, method: str = "GET") -> list[str]:
    """Return the containers that a token reads or writes; the account refuses the others with 403."""
    headers = {"x-ms-blob-type": "BlockBlob"} if method == "PUT" else {}
    statuses = {
        container: requests.request(
            method, f"{account}/{container}/rows?{token}", headers=headers, timeout=30
        ).status_code
        for container in FILES
    }
    assert set(statuses.values()) <= {200, 201, 403}, statuses
    return [container for container, status in statuses.items() if status != 403]


def test_tokens_of_steps_open_the_container_of_their_team_and_the_shared_one(account: str, tokens: Credentials) -> None:
    assert {team: {name: opened(account, token) for name, token in each.items()} for team, each in tokens.items()} == {
        "": {TOKEN_VARIABLE: ["datasets"]},
        "shop": {TOKEN_VARIABLE: ["shop-data"], SHARED_VARIABLE: ["datasets"]},
        "science": {TOKEN_VARIABLE: ["science-data"], SHARED_VARIABLE: ["datasets"]},
        "guests": {TOKEN_VARIABLE: ["datasets"]},
    }


def test_tokens_of_steps_write_nothing(account: str, tokens: Credentials) -> None:
    assert [opened(account, token, method) for token in tokens["shop"].values() for method in ("PUT", "DELETE")] == (
        [[]] * 4
    )


def test_step_reads_the_container_of_its_team_and_by_name_the_shared_one(
    account: str, tokens: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, token in tokens["science"].items():
        monkeypatch.setenv(name, token)
    for container in ("science-data", "datasets"):
        content, address = read_data(account, container, "rows", "")
        assert content == (PROJECT / FILES[container]).read_bytes()
        assert address == f"{account}/{container}/rows"
    with pytest.raises(StepError, match=rf"refuses the token in {TOKEN_VARIABLE} for the container 'shop-data'"):
        read_data(account, "shop-data", "rows", "")
    monkeypatch.setenv(SHARED_VARIABLE, tokens["science"][TOKEN_VARIABLE])
    with pytest.raises(StepError, match=rf"refuses the token in {SHARED_VARIABLE} for the container 'datasets'"):
        read_data(account, "datasets", "rows", "")


def test_notebook_has_the_tokens_of_the_steps_of_its_team(
    values: dict[str, Any], tokens: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {team: each["notebook"] for team, each in values.items()}
    for team, found in variables.items():
        assert {name: value for name, value in found.items() if name.startswith(TOKEN_VARIABLE)} == tokens[team]
        assert json.loads(found[PRESETS])["store"]["container"] == (TEAMS.get(team) or "datasets")
    for name, value in variables["shop"].items():
        monkeypatch.setenv(name, value)
    assert read_blob("rows") == (PROJECT / FILES["shop-data"]).read_bytes()
    assert read_blob("rows", container="datasets") == (PROJECT / FILES["datasets"]).read_bytes()
    with pytest.raises(StepError, match="for the container 'science-data'"):
        read_blob("rows", container="science-data")


def test_steps_and_notebooks_have_the_s3_keys_of_their_team_or_else_the_shared_ones(values: dict[str, Any]) -> None:
    for team, each in values.items():
        owner = "shop" if team == "shop" else "all"
        expected = {
            "AWS_ACCESS_KEY_ID": owner,
            "AWS_SECRET_ACCESS_KEY": f"key-of-{owner}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"https://{owner}.example.com",
        }
        for variables in (each["credentials"], each["notebook"]):
            assert {name: value for name, value in variables.items() if name.startswith("AWS_")} == expected


def test_pipeline_reads_the_container_of_its_team_by_default(values: dict[str, Any]) -> None:
    assert {team: each["arguments"]["container"] for team, each in values.items()} == {
        "": "datasets",
        "shop": "shop-data",
        "science": "science-data",
        "guests": "datasets",
    }


def test_fingerprint_is_that_of_the_container_that_the_pipeline_reads(values: dict[str, Any]) -> None:
    own, shared, elsewhere = zip(*(each["fingerprints"] for each in values.values()), strict=True)
    assert (own[0], own[3]) == (shared[0], shared[0])
    assert len({own[0], own[1], own[2]}) == 3
    assert len(set(shared)) == 1
    assert set(elsewhere) == {""}


def test_backup_has_the_container_of_each_team_and_restores_it(account: str, tmp_path: Path) -> None:
    kind = "pulumi-python:dynamic/platform:ContainerToken"
    names = {"blob-token": "datasets", "shop/blob-token": "shop-data", "science/blob-token": "science-data"}
    tokens = [
        {
            "type": kind,
            "urn": f"urn:pulumi:lab::mlplatform::{kind}::{name}",
            "inputs": {"account_url": account, "account_key": BLOB_KEY, "container": container},
        }
        for name, container in names.items()
    ]
    logins = container_logins({"deployment": {"deployment": {"resources": tokens}}})
    assert {team: login["container"] for team, login in logins.items()} == {
        "": "datasets",
        "shop": "shop-data",
        "science": "science-data",
    }
    for team, login in logins.items():
        assert download_container(login, container_folder(tmp_path, team)) == 1
    folders = {file.parent.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("00000000")}
    assert folders == {"container", "team-containers/shop", "team-containers/science"}
    restored = {team: {**login, "container": f"restored-{login['container']}"} for team, login in logins.items()}
    for team, login in restored.items():
        assert upload_container(login, container_folder(tmp_path, team)) == 1
    blobs = _blobs(logins)
    assert set(blobs) == {"rows", "team shop: rows", "team science: rows"}
    assert len(set(blobs.values())) == 3
    assert _blobs(restored) == blobs
