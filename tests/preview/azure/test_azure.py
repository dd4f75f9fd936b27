"""The resources of a stack in Azure, setting by setting."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime import rpc
from pydantic import ValidationError

from settings.errors import SettingsError
from settings.machines.azure_settings import AzureSettings
from settings.services.blob_settings import BlobSettings
from tests.harness import CHECKOUT
from tests.preview.graph import Graph, key_pair, run

FORMAT = CHECKOUT / "infra" / "kubeadm" / "scripts" / "format-data-disk.sh"
OPERATOR = "203.0.113.7/32"
MACHINES = {"control-plane": "10.30.0.10", "worker-1": "10.30.0.11", "worker-2": "10.30.0.12"}


def site(preview: bool = False, operator: str = OPERATOR, **settings: Any) -> tuple[Graph, Any]:
    """Return the resources of a site, and its outputs."""
    return _created(preview, json.dumps({"operator": operator} | settings))


@cache
def _created(preview: bool, settings: str) -> tuple[Graph, Any]:
    def program() -> Any:
        from infra.azure.site import AzureSite

        created = AzureSite("azure", settings=AzureSettings.model_validate_json(settings), stack="production")
        machines = {
            machine.name: {
                field.name: getattr(machine, field.name)
                for field in dataclasses.fields(machine)
                if field.name not in ("resource", "depends_on", "bastion")
            }
            for machine in created.machines
        }
        bastion = created.machines[0].bastion
        return {
            "machines": machines,
            "endpoint": created.endpoint,
            "bastion": bastion and {"address": bastion.address, "host_key": bastion.host_key},
            "registry": created.registry
            and {
                "host": created.registry.host,
                "pull": [created.registry.username, created.registry.password],
                "push": [created.registry.pushes.username, created.registry.pushes.password],
            },
            "storage": created.storage and {"url": created.storage.account_url, "key": created.storage.account_key},
        }

    return run(program, preview)


def rules(graph: Graph) -> dict[str, Any]:
    (group,) = graph.of("NetworkSecurityGroup").values()
    return {rule["name"]: rule for rule in group["securityRules"]}


def user_data(graph: Graph, machine: str) -> Any:
    text = base64.b64decode(graph.of("VirtualMachine")[machine]["osProfile"]["customData"]).decode()
    assert text.startswith("#cloud-config\n")
    return yaml.safe_load(text)


def test_rules_allow_ssh_only_from_the_operator() -> None:
    graph, _ = site(api_from=["198.51.100.0/24"], services_from=["0.0.0.0/0"])
    open_to = {name: rule["sourceAddressPrefixes"] for name, rule in rules(graph).items()}
    assert open_to == {
        "ssh": [OPERATOR],
        "kubernetes-api": [OPERATOR, "198.51.100.0/24"],
        "node-ports": [OPERATOR, "0.0.0.0/0"],
        "among-nodes": ["10.30.0.0/24"],
    }
    ports = {name: rule["destinationPortRange"] for name, rule in rules(graph).items()}
    assert ports == {"ssh": "22", "kubernetes-api": "6443", "node-ports": "30000-32767", "among-nodes": "*"}


@pytest.mark.parametrize("operator", ["0.0.0.0/0", "203.0.0.0/15"])
def test_settings_with_a_large_operator_range_are_rejected(operator: str) -> None:
    with pytest.raises(ValidationError, match="includes too many addresses"):
        AzureSettings(operator=operator)


def test_settings_without_an_operator_are_rejected() -> None:
    with pytest.raises(ValidationError, match="operator"):
        AzureSettings.model_validate({})


def test_site_with_a_documentation_address_works_only_in_a_preview() -> None:
    assert site(preview=True, operator="192.0.2.1")[0].of("VirtualMachine").keys() == MACHINES.keys()
    with pytest.raises(SettingsError, match=r"pulumi config set --path infra:azure\.operator"):
        site(operator="192.0.2.1")


def test_network_uses_private_addresses() -> None:
    graph, _ = site()
    assert graph.of("VirtualNetwork")["network"]["addressSpace"] == {"addressPrefixes": ["10.30.0.0/16"]}
    assert graph.of("Subnet")["subnet"]["addressPrefix"] == "10.30.0.0/24"
    with pytest.raises(
        ValidationError, match=r"172\.0\.0\.0/16 is not allowed"
    ):  # the network of the thesis, a public range
        AzureSettings(operator=OPERATOR, network="172.0.0.0/16")


def test_subnet_has_the_rules_and_no_default_outbound_access() -> None:
    graph, _ = site()
    subnet = graph.of("Subnet")["subnet"]
    assert subnet["networkSecurityGroup"] == {"id": "/rules"}
    assert subnet["defaultOutboundAccess"] is False


def test_addresses_are_static() -> None:
    graph, outputs = site()
    assert {name: machine["private_address"] for name, machine in outputs["machines"].items()} == MACHINES
    for name, address in MACHINES.items():
        (configuration,) = graph.of("NetworkInterface")[f"{name}-interface"]["ipConfigurations"]
        assert configuration["privateIPAllocationMethod"] == "Static"
        assert configuration["privateIPAddress"] == address
        assert configuration["publicIPAddress"] == {"id": f"/{name}-address"}
        assert graph.of("PublicIPAddress")[f"{name}-address"]["publicIPAllocationMethod"] == "Static"
        assert outputs["machines"][name]["public_address"] == f"ip-of-{name}-address"


def test_public_addresses_have_dns_names() -> None:
    graph, outputs = site()
    labels = {name: address["dnsSettings"]["domainNameLabel"] for name, address in graph.of("PublicIPAddress").items()}
    assert labels == {f"{name}-address": f"production-{name}" for name in MACHINES}
    assert outputs["endpoint"] == "production-control-plane.cloudapp.azure.com"


def test_site_with_workers_has_one_control_plane_and_that_many_workers() -> None:
    graph, outputs = site(workers=5)
    roles = [machine["role"] for machine in outputs["machines"].values()]
    assert roles == ["control-plane", *["worker"] * 5]
    assert graph.of("VirtualMachine").keys() == outputs["machines"].keys()


def test_site_with_another_worker_keeps_the_existing_resources() -> None:
    fewer, more = site(workers=1)[0], site(workers=2)[0]
    generated = {"customData", "publicKeys", "keyData"}  # each run of the mocks generates new keys

    def without_keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_keys(item) for key, item in value.items() if key not in generated}
        return [without_keys(item) for item in value] if isinstance(value, list) else value

    assert {key: without_keys(value) for key, value in more.resources.items() if key in fewer.resources} == {
        key: without_keys(value) for key, value in fewer.resources.items()
    }
    assert all("worker-2" in name for kind, name in more.resources.keys() - fewer.resources.keys())


def test_size_defaults_to_the_size_of_the_thesis() -> None:
    assert {vm["hardwareProfile"]["vmSize"] for vm in site()[0].of("VirtualMachine").values()} == {"Standard_DS2_v2"}
    bigger = site(size="Standard_D4s_v5")[0].of("VirtualMachine").values()
    assert {vm["hardwareProfile"]["vmSize"] for vm in bigger} == {"Standard_D4s_v5"}


def test_image_is_a_pinned_version_of_ubuntu() -> None:
    image = site()[0].of("VirtualMachine")["worker-1"]["storageProfile"]["imageReference"]
    assert (image["publisher"], image["offer"], image["sku"]) == ("Canonical", "ubuntu-24_04-lts", "server")
    assert image["version"][:6] == "24.04."
    with pytest.raises(ValidationError, match="image"):
        AzureSettings(operator=OPERATOR, image="Canonical:ubuntu-24_04-lts:server:latest")


def test_machines_have_a_system_disk_and_a_detachable_data_disk() -> None:
    graph, _ = site(os_disk_gb=100, data_disk_gb=200)
    for name in MACHINES:
        storage = graph.of("VirtualMachine")[name]["storageProfile"]
        assert (storage["osDisk"]["diskSizeGB"], storage["osDisk"]["deleteOption"]) == (100, "Delete")
        (data,) = storage["dataDisks"]
        assert (data["lun"], data["managedDisk"]["id"]) == (0, f"/{name}-data")
        assert (data["createOption"], data["deleteOption"]) == ("Attach", "Detach")
        assert graph.of("Disk")[f"{name}-data"]["diskSizeGB"] == 200
    assert site()[0].of("Disk")["worker-1-data"]["diskSizeGB"] == 50


def test_data_disk_is_mounted_for_openebs_before_kubelet_starts() -> None:
    document = user_data(site()[0], "worker-1")
    assert document["runcmd"][0] == ["/usr/local/sbin/format-data-disk", "/dev/disk/azure/scsi1/lun0"]
    assert document["runcmd"][-1] == ["systemctl", "enable", "--now", "var-openebs-local.mount"]
    files = {file["path"]: file["content"] for file in document["write_files"]}
    mount = files["/etc/systemd/system/var-openebs-local.mount"]
    assert "What=/dev/disk/azure/scsi1/lun0\nWhere=/var/openebs/local\n" in mount
    kubelet = files["/etc/systemd/system/kubelet.service.d/05-data-disk.conf"]
    assert "RequiresMountsFor=/var/openebs/local" in kubelet
    assert files["/usr/local/sbin/format-data-disk"] == FORMAT.read_text()


def test_format_script_formats_an_empty_disk_and_keeps_data(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8 << 20))
    assert "is formatted" in run_script(disk)
    labelled = disk.read_bytes()
    assert b"openebs" in labelled
    assert "stays as it is" in run_script(disk)
    assert disk.read_bytes() == labelled


def test_format_script_with_a_missing_disk_fails(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_script(tmp_path / "none")


def run_script(disk: Path) -> str:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return subprocess.run(
        [FORMAT, disk], env=os.environ | {"PATH": path}, check=True, capture_output=True, text=True
    ).stdout


def test_machines_start_with_the_expected_host_keys() -> None:
    graph, outputs = site()
    expected = [machine["host_key"] for machine in outputs["machines"].values()]
    configured = [user_data(graph, name)["ssh_keys"]["ed25519_public"] for name in MACHINES]
    assert configured == expected
    assert len(set(configured)) == len(MACHINES)


def test_login_uses_only_a_key_that_is_generated_unless_set() -> None:
    graph, outputs = site()
    login = graph.of("VirtualMachine")["worker-1"]["osProfile"]
    assert login["linuxConfiguration"]["disablePasswordAuthentication"] is True
    assert user_data(graph, "worker-1")["ssh_pwauth"] is False
    assert ("SshKey", "user-key") in graph.resources
    assert "PRIVATE KEY" in outputs["machines"]["worker-1"]["key"]

    pair = key_pair()
    graph, outputs = site(private_key=pair["private_key"])
    (key,) = graph.of("VirtualMachine")["worker-1"]["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"]
    assert key == {"keyData": pair["public_key"], "path": "/home/azureuser/.ssh/authorized_keys"}
    assert outputs["machines"]["worker-1"]["key"] == pair["private_key"]
    assert ("SshKey", "user-key") not in graph.resources


def test_site_with_an_invalid_key_raises_without_showing_it() -> None:
    with pytest.raises(SettingsError, match=r"infra:azure\.private_key") as error:
        site(private_key="-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n")
    assert "c2VjcmV0" not in str(error.value)


def test_machines_have_the_managed_identity() -> None:
    identities = [vm["identity"] for vm in site()[0].of("VirtualMachine").values()]
    assert identities == [{"type": "UserAssigned", "userAssignedIdentities": ["/identity"]}] * len(MACHINES)


def test_resources_that_support_tags_have_them() -> None:
    graph, _ = site(tags={"cost-centre": "4711"}, registry=True, storage="datasets", bastion=True)
    without = {"AzureSite", "Subnet", "SshKey", "ScopeMap", "Token", "AzureTokenPassword", "BlobContainer"}
    tags = {key: inputs.get("tags") for key, inputs in graph.resources.items() if key[0] not in without}
    expected = {"project": "mlplatform", "stack": "production", "cost-centre": "4711"}
    assert tags == dict.fromkeys(tags, expected)
    assert len(tags) > 10


def test_site_with_a_bastion_has_no_other_public_machine() -> None:
    graph, outputs = site(bastion=True)
    assert graph.of("PublicIPAddress").keys() == {"bastion-address", "gateway-address"}
    public = {
        name: "publicIPAddress" in interface["ipConfigurations"][0]
        for name, interface in graph.of("NetworkInterface").items()
    }
    assert [name for name, has in public.items() if has] == ["bastion-interface"]
    assert outputs["bastion"]["address"] == "ip-of-bastion-address"
    assert outputs["bastion"]["host_key"] == user_data(graph, "bastion")["ssh_keys"]["ed25519_public"]
    assert {machine["public_address"] for machine in outputs["machines"].values()} == set(MACHINES.values())


def test_site_with_a_bastion_has_a_gateway_and_forwards_the_api() -> None:
    graph, outputs = site(bastion=True)
    assert graph.of("Subnet")["subnet"]["natGateway"] == {"id": "/gateway"}
    assert "natGateway" not in site()[0].of("Subnet")["subnet"]
    units = {file["path"].split("/")[-1]: file["content"] for file in user_data(graph, "bastion")["write_files"]}
    assert "ListenStream=6443" in units["kubernetes-api.socket"]
    assert "10.30.0.10:6443" in units["kubernetes-api.service"]
    assert outputs["endpoint"] == "production-bastion.cloudapp.azure.com"
    with pytest.raises(ValidationError, match="services_from"):
        AzureSettings(operator=OPERATOR, bastion=True, services_from=["0.0.0.0/0"])


def test_registry_has_a_token_that_pulls_and_one_that_pushes() -> None:
    graph, outputs = site(registry=True)
    assert graph.of("Registry")["registry"]["adminUserEnabled"] is False
    scopes = {
        name: {action.split("/")[-1] for action in scope["actions"]} for name, scope in graph.of("ScopeMap").items()
    }
    assert scopes == {"nodes": {"read"}, "builder": {"read", "write"}}
    assert {name: token["scopeMapId"] for name, token in graph.of("Token").items()} == {
        "nodes": "/nodes",
        "builder": "/builder",
    }
    assert outputs["registry"] == {
        "host": "registry.azurecr.io",
        "pull": ["nodes-azure", "nodes-password"],
        "push": ["builder-azure", "builder-password"],
    }
    assert not site()[0].of("Registry")


def test_storage_account_is_private() -> None:
    graph, outputs = site(storage="datasets")
    (account,) = graph.of("StorageAccount").values()
    assert account["allowBlobPublicAccess"] is False
    assert account["enableHttpsTrafficOnly"] is True
    assert account["minimumTlsVersion"] == "TLS1_2"
    assert graph.of("BlobContainer")["datasets"]["publicAccess"] == "None"
    assert outputs["storage"] == {"url": "https://datasets.blob.core.windows.net", "key": "account-key"}
    assert not site()[0].of("StorageAccount")


def test_images_and_blobs_use_the_registry_and_storage_of_the_stack() -> None:
    def program() -> Any:
        from mlplatform.blob_store import blob_store
        from mlplatform.images.image import LIBRARIES, Image
        from mlplatform.k8s.pull_secret import pull_secret

        from infra.azure.site import AzureSite

        settings = AzureSettings(operator=OPERATOR, registry=True, storage="measurements")
        created = AzureSite("azure", settings=settings, stack="production")
        assert created.registry
        Image(LIBRARIES, created.registry)
        pull_secret("pull", "default", created.registry, pulumi.ResourceOptions())
        uploads = BlobSettings(upload={"iris.csv": "workloads/data/iris.csv"})
        blob_store(uploads, None, Path("/nowhere"), created.storage)

    graph, _ = run(program)
    (image,) = graph.of("Image").values()
    assert (image["username"], rpc.unwrap_rpc_secret(image["password"])) == ("builder-azure", "builder-password")
    shown = rpc.unwrap_rpc_secret(graph.of("Secret")["pull"]["stringData"])[".dockerconfigjson"]
    assert base64.b64decode(json.loads(shown)["auths"]["registry.azurecr.io"]["auth"]) == b"nodes-azure:nodes-password"
    (blob,) = graph.of("Blob").values()
    assert (blob["account_url"], blob["container"]) == ("https://datasets.blob.core.windows.net", "measurements")


def test_keys_are_secret_outputs() -> None:
    def program() -> Any:
        from infra.azure.site import AzureSite

        settings = AzureSettings(operator=OPERATOR, storage="datasets", private_key=key_pair()["private_key"])
        created = AzureSite("azure", settings=settings, stack="given")
        assert created.storage
        secrets = [created.storage.account_key, created.machines[0].key]
        return pulumi.Output.all(*(pulumi.Output.from_input(output.is_secret()) for output in secrets))

    assert run(program)[1] == [True, True]
