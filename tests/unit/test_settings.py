"""Settings: what a person wrote wrongly is said by its name, with what was found and what is allowed."""

import json
from pathlib import Path

import pytest

from settings import PROJECT, Blobs, Pipeline, Settings, SettingsError, Tracking, load

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


@pytest.mark.parametrize(
    ("stack", "missing"),
    [
        ("lab", "infra:machines: lab"),
        ("onprem", "infra:machines: hosts"),
        ("azure", "infra:machines: azure"),
        ("managed", "infra:cluster: existing"),
    ],
)
def test_a_stack_that_is_still_to_come_is_refused_with_what_is_missing(stack: str, missing: str) -> None:
    message = complaint({}, stack)
    assert "not there yet" in message
    assert missing in message


def test_a_secret_setting_does_not_stand_in_the_complaint() -> None:
    message = complaint({"platform:blobs": '{"account_url": "ftp://x", "account_key": "c2VjcmV0", "port": 1}'})
    assert "platform:blobs.account_url" in message
    assert "c2VjcmV0" not in message


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("config: [")
    assert "Pulumi.dev.yaml is not YAML" in complaint({}, folder=tmp_path)


def test_a_file_without_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("serving:port: 1")
    assert "expected a mapping named config" in complaint({}, folder=tmp_path)


def test_the_page_of_settings_names_every_setting() -> None:
    page = (PROJECT / "docs" / "settings.md").read_text()
    for namespace, section in Settings.model_fields.items():
        for name, field in section.annotation.model_fields.items():  # type: ignore[union-attr]
            assert f"`{namespace}:{name}" in page, name
            inner = {Tracking: Tracking, Blobs | None: Blobs}.get(field.annotation)  # type: ignore[call-overload]
            for part in inner.model_fields if inner else ():
                assert f"`{namespace}:{name}.{part}`" in page, part
    for name in Pipeline.model_fields:
        assert f"| `{name}` |" in page, name
