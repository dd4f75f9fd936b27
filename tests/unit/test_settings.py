"""Settings: what a person wrote wrongly is said by its name, with what was found and what is allowed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from settings.loading import load
from settings.paths import PROJECT
from settings.stack import Settings
from settings.types import SettingsError
from settings.workloads import PipelineSettings

PIPELINES = "workloads:pipelines"


def complaint(overrides: dict[str, str], stack: str = "dev", folder: Path = PROJECT) -> str:
    with pytest.raises(SettingsError) as error:
        load(stack, overrides, folder)
    return str(error.value)


def test_dev_settings_are_valid() -> None:
    settings = load("dev", {})
    assert settings.workloads.pipelines["iris-external"].gate == 0.7
    assert settings.serving.port == 5005


def test_overrides_are_laid_over_the_committed_file_key_by_key() -> None:
    gate = {PIPELINES: json.dumps({"iris-external": {"gate": "0.9"}}), "serving:port": "6005"}
    settings = load("dev", gate)
    external = settings.workloads.pipelines["iris-external"]
    assert (external.gate, external.serve, external.parameters) == (0.9, True, {"blob": "iris.csv"})
    assert settings.serving.port == 6005
    assert "iris-local" in settings.workloads.pipelines


def test_a_stack_without_a_file_has_the_defaults() -> None:
    settings = load("nobody-wrote-it", {})
    assert settings.workloads.pipelines == {}
    assert settings.platform.pipelines == "embedded"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"serving:prot": "1"}, ["serving:prot is not a setting"]),
        ({"servng:port": "5005"}, ["servng is not a setting"]),
        ({"serving:port": "80"}, ["serving:port", "greater than or equal to 1024", "found: '80'"]),
        ({"serving:port": "many"}, ["serving:port", "valid integer", "found: 'many'"]),
        ({"serving:follow": "perhaps"}, ["serving:follow", "valid boolean", "'perhaps'"]),
        ({"platform:monitoring": "{}"}, ["platform:monitoring: Prometheus runs in a cluster"]),
        (
            {"platform:monitoring": '{"alerts_url": "hooks.example.com/t0ken"}'},
            ["platform:monitoring.alerts_url", "has to begin with https://"],
        ),
        ({"port": "5005"}, ["port is not a setting", "namespace:name"]),
        (
            {PIPELINES: '{"iris-external": {"gate": "high"}}'},
            [f"{PIPELINES}.iris-external.gate", "valid number", "'high'"],
        ),
        ({PIPELINES: '{"Iris_2": {}}'}, [PIPELINES, "Iris_2", "pattern"]),
        ({PIPELINES: '{"x": {"port": 6000}}'}, [f"{PIPELINES}.x", "serve: true"]),
        ({PIPELINES: '{"x": {"serve": true}}'}, ["serving:port", "port 5005", "another port"]),
        (
            {PIPELINES: '{"x": {"uses_model": "rose"}}'},
            [f"{PIPELINES}.x.uses_model", "rose", "there are: iris"],
        ),
        (
            {PIPELINES: '{"x": {"serve": true, "port": 6000, "model": "iris"}}'},
            ["iris is already served for iris-external"],
        ),
        ({"platform:tracking": '{"port": 10000}'}, ["port 10000 is already taken by platform:tracking.port"]),
        (
            {"platform:blobs": '{"account_url": "https://a.example"}'},
            ["platform:blobs", "account_key belong together"],
        ),
        ({"platform:blobs": '{"upload": {"a": "no/such.csv"}}'}, ["platform:blobs", "no file no/such.csv"]),
        (
            {PIPELINES: '{"iris-local": {"schedule": "0 3 * * *"}}'},
            [f"{PIPELINES}.iris-local.schedule", "platform:pipelines: embedded", "set platform:pipelines: kubeflow"],
        ),
        (
            {PIPELINES: '{"iris-local": {"schedule": "61 * * * *"}}'},
            [f"{PIPELINES}.iris-local.schedule", "61 is no minute", "from 0 to 59", "'61 * * * *'"],
        ),
        ({PIPELINES: '{"iris-local": {"schedule": "@daily"}}'}, ["schedule", "five fields as cron does"]),
        ({PIPELINES: '{"iris-local": {"timeout_minutes": 0}}'}, ["timeout_minutes", "greater than or equal to 1"]),
        ({PIPELINES: '{"iris-local": {"retries": 11}}'}, ["retries", "less than or equal to 10"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_found(overrides: dict[str, str], said: list[str]) -> None:
    message = complaint(overrides)
    assert all(part in message for part in said), message


def test_all_faults_are_said_at_once() -> None:
    message = complaint({"serving:port": "80", "serving:workers": "0", "platform:pipelines": "airflow"})
    assert all(
        part in message for part in ["serving:port", "serving:workers", "platform:pipelines", "'embedded', 'job'"]
    )


@pytest.mark.parametrize("stack", ["azure", "dev", "lab", "managed", "onprem"])
def test_the_settings_of_every_stack_are_valid(stack: str) -> None:
    assert load(stack, {})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"infra:lab": '{"size": 11}'}, ["infra:lab.size", "less than or equal to 10", "11"]),
        ({"infra:lab": '{"subnet": "10.20.0.1/24"}'}, ["infra:lab.subnet", "valid IPv4 network", "10.20.0.1/24"]),
        (
            {"infra:lab": '{"subnet": "10.96.4.0/24"}'},
            ["kubernetes.service_subnet 10.96.0.0/16 overlaps with lab.subnet"],
        ),
        ({"infra:kubernetes": '{"version": "v1.34"}'}, ["infra:kubernetes.version", "v1.34"]),
        ({"infra:machines": "none"}, ["machines: none does not go with cluster: kubeadm"]),
        ({"infra:machines": "hosts"}, ["infra:hosts, the machines' addresses"]),
        ({"platform:network": "calico"}, ["platform:network", "'weave' or 'flannel'", "calico"]),
        ({"platform:load_balancer": '{"addresses": "10.20.0.300-10.20.0.310"}'}, ["load_balancer", "10.20.0.300"]),
        ({"platform:registry": '{"url": "https://harbor.example"}'}, ["url, username and password belong together"]),
        (
            {"platform:registry": '{"builder": {"username": "ci", "password": "word"}}'},
            ["platform:registry", "builder: is for your own registry, at url"],
        ),
        ({"platform:pipelines": "embedded"}, ["embedded does not go with infra:cluster: kubeadm"]),
        (
            {PIPELINES: '{"iris-local": {"schedule": "0 3 * * *"}}', "platform:pipelines": "job"},
            [f"{PIPELINES}.iris-local.schedule", "platform:pipelines: job has no scheduler"],
        ),
        ({"platform:kubeflow": '{"size_gb": 0}'}, ["platform:kubeflow.size_gb", "greater than or equal to 1"]),
    ],
)
def test_a_wrong_setting_of_a_cluster_is_named(overrides: dict[str, str], said: list[str]) -> None:
    message = complaint(overrides, "lab")
    assert all(part in message for part in said), message


def test_job_and_kubeflow_take_a_cluster() -> None:
    for engine in ("job", "kubeflow"):
        assert f"{engine} does not go with infra:cluster: none" in complaint({"platform:pipelines": engine})
        assert load("lab", {"platform:pipelines": engine}).platform.pipelines == engine


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ("30 2 * * MON-FRI", "0 30 2 * * 1-5"),
        ("0 0 1 jan,JUL *", "0 0 0 1 1,7 *"),
        ("*/5 * * * *", "0 */5 * * * *"),
        ("15 */10 8-18/2 1,15 * 0", "15 */10 8-18/2 1,15 * 0"),
    ],
)
def test_a_schedule_is_read_as_cron_reads_it_with_or_without_seconds(written: str, fields: str) -> None:
    settings = {"platform:pipelines": "kubeflow", PIPELINES: json.dumps({"iris-local": {"schedule": written}})}
    assert load("lab", settings).workloads.pipelines["iris-local"].schedule == fields


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("* * *", "five fields"),
        ("0 24 * * *", "24 is no hour"),
        ("0 0 0 * *", "0 is no day of the month: write *, a number from 1 to 31"),
        ("0 0 * * 7", "7 is no day of the week"),
        ("0 0 * 5-1 *", "5-1 is no month"),
        ("*/0 * * * *", "*/0 is no minute"),
        ("0 0 * * FRY", "FRY is no day of the week"),
    ],
)
def test_a_wrong_schedule_is_told_by_its_field(written: str, said: str) -> None:
    assert said in complaint({PIPELINES: json.dumps({"iris-local": {"schedule": written}})}, "lab")


def host(name: str, **more: str) -> dict[str, str]:
    return {"name": name, "address": f"{name}.example", "host_key": "ssh-ed25519 AAAA", **more}


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ({"machines": [host("a")]}, "one must have role: control-plane, found 0: none"),
        ({"machines": [host("a", role="control-plane"), host("a")]}, "the name a is given twice"),
        ({"machines": [host("a", host_key="SHA256:abc")]}, "infra:hosts.machines.0.host_key"),
        ({"machines": [host("A_b")]}, "infra:hosts.machines.0.name"),
        ({"private_key": "k", "machines": [host("a", role="control-plane")]}, "set one of private_key"),
    ],
)
def test_wrong_hosts_are_named(hosts: dict[str, object], said: str) -> None:
    overrides = {"infra:machines": "hosts", "infra:hosts": json.dumps({"user": "u", "private_key_file": "f", **hosts})}
    assert said in complaint(overrides, "lab")


def test_a_secret_setting_does_not_stand_in_the_complaint() -> None:
    message = complaint({"platform:blobs": '{"account_url": "ftp://x", "account_key": "c2VjcmV0", "port": 1}'})
    assert "platform:blobs.account_url" in message
    assert "c2VjcmV0" not in message
    message = complaint({"platform:tracking": '{"database_url": "mysql://me:c2VjcmV0@host/db"}'})
    assert "platform:tracking.database_url: has to begin with postgresql://" in message
    assert "c2VjcmV0" not in message


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("config: [")
    assert "Pulumi.dev.yaml is not YAML" in complaint({}, folder=tmp_path)


def test_a_file_without_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("serving:port: 1")
    assert "expected a mapping named config" in complaint({}, folder=tmp_path)


def test_the_page_of_settings_names_every_setting() -> None:
    page = (PROJECT / "docs" / "settings.md").read_text()
    missing = [name for name in all_settings() if f"`{name}`" not in page]
    assert missing == []
    for name in PipelineSettings.model_fields:
        assert f"| `{name}` |" in page, name


def all_settings() -> Iterator[str]:
    """The full name of every setting; those of each pipeline have a table of their own."""
    for namespace, section in Settings.model_fields.items():
        if namespace == "workloads":
            yield "workloads:pipelines"
            continue
        for name, field in sections(section)[0].model_fields.items():
            yield from below(f"{namespace}:{name}", field)


def below(name: str, field: FieldInfo) -> Iterator[str]:
    inner = sections(field)
    if not inner:
        yield name
    for section in inner:
        for part, deeper in section.model_fields.items():
            yield from below(f"{name}.{part}", deeper)


def sections(field: FieldInfo) -> list[type[BaseModel]]:
    """The models that a setting's value may be, also in a list or beside None."""
    found = [field.annotation]
    for annotation in found:
        found += get_args(annotation)
    return [each for each in found if isinstance(each, type) and issubclass(each, BaseModel)]
