"""Settings of the lab of `make rehearse` and `make drill`."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
import yaml

from infra.errors import UserError
from settings.paths import PROJECT
from settings.stack import UNSUPPORTED_SETTINGS, StackSettings
from tools.cli.rehearsal.rehearsal_settings import rehearsal_settings, without_versions
from tools.cli.rehearsal.temporary_lab import SUBNETS, TemporaryNetwork, free_subnet

SUBNET = SUBNETS[0]
NETWORK = TemporaryNetwork(SUBNET, 4321)
ORIGINAL: dict[str, Any] = {
    "infra:machines": "hosts",
    "infra:cluster": "kubeadm",
    "infra:hosts": {"user": "u", "private_key": "-----", "machines": []},
    "infra:kubernetes": {"version": "1.33.1", "endpoint": "api.example.com", "virtual_address": "192.0.2.1"},
    "platform:pipelines": "job",
    "platform:network": "flannel",
    "platform:tracking": {"database_url": "postgresql://u:p@h/d", "size_gb": 7},
    "platform:monitoring": {"alerts_url": "https://pager.example.com", "retention_days": 3},
    "platform:blobs": {"account_url": "https://a.example.com", "account_key": "k", "container": "flowers"},
    "infra:proxy": {"http": "http://proxy.example.com:3128"},
    "platform:backup": {"target": "/backups"},
    "platform:registry": {"url": "https://registry.example.com", "username": "u", "password": "p"},
    "workloads:pipelines": {"iris-local": {"serve": True, "gate": 0.5}},
}
DOOR = {
    "host": "ml.example.com",
    "acme": {"directory": "https://acme.example.com/directory"},
    "oidc": {"issuer": "https://id.example.com"},
}


def validated(settings: dict[str, Any]) -> StackSettings:
    sections: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        namespace, _, name = key.partition(":")
        sections.setdefault(namespace, {})[name] = value
    return StackSettings.model_validate(sections)


def test_rehearsal_settings_name_nothing_of_the_original() -> None:
    settings = rehearsal_settings(ORIGINAL, NETWORK, (3, 9))
    found = validated(settings)
    assert (found.infra.machines, found.infra.lab.size, found.infra.lab.control_planes) == ("lab", 5, 3)
    assert (found.infra.kubernetes.version, found.infra.kubernetes.packages) == ("1.33.1", "bundle")
    assert (found.platform.network, found.platform.tracking.size_gb) == ("flannel", 7)
    assert found.platform.tracking.service == found.serving.service == "LoadBalancer"
    text = yaml.safe_dump(settings)
    assert [word for word in ("example.com", "192.0.2.1", "/backups", "postgresql://", "-----") if word in text] == []
    assert "hosts" in ORIGINAL["infra:machines"]
    assert ORIGINAL["platform:tracking"]["database_url"]


def test_rehearsal_settings_of_a_door_open_its_models() -> None:
    settings = rehearsal_settings(ORIGINAL | {"platform:door": DOOR}, NETWORK, (1, 2))
    assert settings["platform:door"] == {"host": str(SUBNET[219]), "address": str(SUBNET[219])}
    assert settings["workloads:pipelines"]["iris-local"]["visibility"] == "public"
    assert "service" not in settings["platform:tracking"]


def test_rehearsal_settings_of_teams_are_valid_and_have_no_person_of_the_original() -> None:
    pipelines = {"iris-local": {}, "batch-predict": {"parameters": {"destination": "s3://predictions/today/"}}}
    teams = {"risk": {"people": ["anna"], "groups": ["g"], "pipelines": ["iris-local", "batch-predict"]}}
    changes = {"platform:door": DOOR, "workloads:pipelines": pipelines, "workloads:teams": teams}
    changes["platform:network"] = "weave"
    settings = rehearsal_settings(ORIGINAL | changes, NETWORK, (1, 2))
    found = validated(settings)
    assert found.platform.door
    assert list(found.platform.door.users) == found.workloads.teams["risk"].people == ["stand-in"]
    assert found.workloads.teams["risk"].groups == []
    assert found.workloads.teams["risk"].pipelines == ["iris-local"]


def test_rehearsal_runs_no_pipeline_that_writes_outside() -> None:
    pipelines = {
        "iris-local": None,
        "batch-predict": {"uses_model": "iris", "parameters": {"destination": "s3://predictions/today/"}},
        "score-file": {"uses_model": "iris", "parameters": {"destination": ""}},
    }
    settings = rehearsal_settings(ORIGINAL | {"workloads:pipelines": pipelines}, NETWORK, (1, 2))
    assert settings["workloads:pipelines"].keys() == {"iris-local", "score-file"}
    assert len(pipelines) == 3


def test_rehearsal_has_no_versions_of_the_original() -> None:
    changes = {
        "serving:canary": {"version": 4},
        "workloads:adopt_champions": True,
        "workloads:pipelines": {"iris-local": {"serve": True, "version": 3}, "smoke-test": {}},
    }
    settings = without_versions(rehearsal_settings(ORIGINAL | changes, NETWORK, (1, 2)))
    found = validated(settings)
    assert found.serving.canary is None
    assert not found.workloads.adopt_champions
    assert settings["workloads:pipelines"] == {"iris-local": {"serve": True}, "smoke-test": {}}


def test_rehearsal_settings_with_an_account_of_azure_have_its_container() -> None:
    azure = {"infra:azure": {"operator": "192.0.2.1", "storage": "measurements"}, "platform:blobs": None}
    settings = rehearsal_settings(ORIGINAL | azure, NETWORK, (1, 2))
    assert settings["platform:blobs"] == {"container": "measurements", "port": 4321}


@pytest.mark.parametrize("stack", ["lab", "onprem", "azure", "managed"])
def test_rehearsal_settings_of_committed_stacks_are_valid(stack: str) -> None:
    committed = yaml.safe_load((PROJECT / f"Pulumi.{stack}.yaml").read_text())["config"]
    found = validated(rehearsal_settings(committed, NETWORK, (1, 2)))
    assert found.infra.lab.subnet == SUBNET
    assert found.infra.hosts is None
    assert found.infra.azure is None


EXISTING = {"infra:cluster": "existing", "infra:machines": "none", "infra:existing": {"kubeconfig": "-----"}}
OF_VENDORS = {
    "platform:storage": "openebs",
    "platform:storage_class": "gp3",
    "platform:metrics": "own",
}


@pytest.mark.parametrize("setting", OF_VENDORS)
def test_rehearsal_settings_of_a_vendors_cluster_are_valid(setting: str) -> None:
    of_machines = ("infra:hosts", "infra:kubernetes", "platform:network")
    original = {name: value for name, value in ORIGINAL.items() if name not in of_machines}
    original |= {**EXISTING, setting: OF_VENDORS[setting], "platform:backup": {"target": "/b", "password": "-" * 9}}
    validated(original)
    found = validated(rehearsal_settings(original, NETWORK, (1, 2)))
    assert (found.infra.cluster, found.infra.existing) == ("kubeadm", None)


def test_rehearsal_settings_leave_out_all_settings_of_vendors_clusters() -> None:
    unsupported, _ = UNSUPPORTED_SETTINGS["kubeadm"]
    assert OF_VENDORS.keys() == {f"platform:{name}" for name in unsupported}


def test_free_subnet_is_in_no_other_network() -> None:
    assert free_subnet([str(SUBNETS[0][1]), "127.0.0.1"], [str(SUBNETS[1])]) == SUBNETS[2]
    with pytest.raises(UserError, match="all are in use"):
        free_subnet([str(each[9]) for each in SUBNETS], [str(ipaddress.IPv4Network("10.96.0.0/16"))])
