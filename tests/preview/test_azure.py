"""The graph of resources of a stack in Azure, setting by setting."""

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

from settings.infra import AzureSettings
from settings.platform import BlobSettings
from settings.types import SettingsError

from .graph import Graph, key_pair, run

FORMAT = Path(__file__).resolve().parents[2] / "infra" / "kubeadm" / "scripts" / "format-data-disk.sh"
OPERATOR = "203.0.113.7/32"
MACHINES = {"control-plane": "10.30.0.10", "worker-1": "10.30.0.11", "worker-2": "10.30.0.12"}


def site(preview: bool = False, operator: str = OPERATOR, **settings: Any) -> tuple[Graph, Any]:
    """The resources of a site, and what it hands on."""
    return _made(preview, json.dumps({"operator": operator} | settings))


@cache
def _made(preview: bool, settings: str) -> tuple[Graph, Any]:
    def program() -> Any:
        from infra.azure.site import azure_site

        made = azure_site(AzureSettings.model_validate_json(settings), "production")
        machines = {
            machine.name: {
                field.name: getattr(machine, field.name)
                for field in dataclasses.fields(machine)
                if field.name not in ("resource", "depends_on", "bastion")
            }
            for machine in made.machines
        }
        bastion = made.machines[0].bastion
        return {
            "machines": machines,
            "endpoint": made.endpoint,
            "bastion": bastion and {"address": bastion.address, "host_key": bastion.host_key},
            "registry": made.registry
            and {
                "host": made.registry.host,
                "pull": [made.registry.username, made.registry.password],
                "push": [made.registry.pushes.username, made.registry.pushes.password],
            },
            "storage": made.storage and {"url": made.storage.account_url, "key": made.storage.account_key},
        }

    return run(program, preview)


def rules(graph: Graph) -> dict[str, Any]:
    (group,) = graph.of("NetworkSecurityGroup").values()
    return {rule["name"]: rule for rule in group["securityRules"]}


def user_data(graph: Graph, machine: str) -> Any:
    text = base64.b64decode(graph.of("VirtualMachine")[machine]["osProfile"]["customData"]).decode()
    assert text.startswith("#cloud-config\n")
    return yaml.safe_load(text)


def test_ssh_is_open_to_the_operator_alone() -> None:
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
def test_an_operator_who_is_half_the_world_is_refused(operator: str) -> None:
    with pytest.raises(ValidationError, match="open to too many"):
        AzureSettings(operator=operator)


def test_the_operator_has_to_be_told() -> None:
    with pytest.raises(ValidationError, match="operator"):
        AzureSettings.model_validate({})


def test_with_an_address_for_documentation_only_a_preview_goes_through() -> None:
    assert site(preview=True, operator="192.0.2.1")[0].of("VirtualMachine").keys() == MACHINES.keys()
    with pytest.raises(SettingsError, match=r"pulumi config set --path infra:azure\.operator"):
        site(operator="192.0.2.1")


def test_the_network_is_private() -> None:
    graph, _ = site()
    assert graph.of("VirtualNetwork")["network"]["addressSpace"] == {"addressPrefixes": ["10.30.0.0/16"]}
    assert graph.of("Subnet")["subnet"]["addressPrefix"] == "10.30.0.0/24"
    with pytest.raises(ValidationError, match=r"172\.0\.0\.0/16 has to be"):  # the thesis's, which is public space
        AzureSettings(operator=OPERATOR, network="172.0.0.0/16")


def test_the_subnet_has_the_rules_and_lends_no_way_out() -> None:
    graph, _ = site()
    subnet = graph.of("Subnet")["subnet"]
    assert subnet["networkSecurityGroup"] == {"id": "/rules"}
    assert subnet["defaultOutboundAccess"] is False


def test_private_and_public_addresses_stay() -> None:
    graph, told = site()
    assert {name: machine["private_address"] for name, machine in told["machines"].items()} == MACHINES
    for name, address in MACHINES.items():
        (configuration,) = graph.of("NetworkInterface")[f"{name}-interface"]["ipConfigurations"]
        assert configuration["privateIPAllocationMethod"] == "Static"
        assert configuration["privateIPAddress"] == address
        assert configuration["publicIPAddress"] == {"id": f"/{name}-address"}
        assert graph.of("PublicIPAddress")[f"{name}-address"]["publicIPAllocationMethod"] == "Static"
        assert told["machines"][name]["public_address"] == f"ip-of-{name}-address"


def test_public_addresses_have_names() -> None:
    graph, told = site()
    labels = [address["dnsSettings"]["domainNameLabel"] for address in graph.of("PublicIPAddress").values()]
    assert labels == [f"production-{name}" for name in MACHINES]
    assert told["endpoint"] == "production-control-plane.cloudapp.azure.com"


def test_one_control_plane_and_as_many_workers_as_asked_for() -> None:
    graph, told = site(workers=5)
    roles = [machine["role"] for machine in told["machines"].values()]
    assert roles == ["control-plane", *["worker"] * 5]
    assert graph.of("VirtualMachine").keys() == told["machines"].keys()


def test_another_worker_changes_nothing_of_those_that_are_there() -> None:
    fewer, more = site(workers=1)[0], site(workers=2)[0]
    private = {"customData", "publicKeys", "keyData"}  # keys are made anew by each run of the mocks

    def compared(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: compared(item) for key, item in value.items() if key not in private}
        return [compared(item) for item in value] if isinstance(value, list) else value

    assert {key: compared(value) for key, value in more.resources.items() if key in fewer.resources} == {
        key: compared(value) for key, value in fewer.resources.items()
    }
    assert all("worker-2" in name for kind, name in more.resources.keys() - fewer.resources.keys())


def test_the_size_is_the_thesis_s_unless_set() -> None:
    assert {vm["hardwareProfile"]["vmSize"] for vm in site()[0].of("VirtualMachine").values()} == {"Standard_DS2_v2"}
    bigger = site(size="Standard_D4s_v5")[0].of("VirtualMachine").values()
    assert {vm["hardwareProfile"]["vmSize"] for vm in bigger} == {"Standard_D4s_v5"}


def test_the_image_is_a_numbered_version_of_ubuntu() -> None:
    image = site()[0].of("VirtualMachine")["worker-1"]["storageProfile"]["imageReference"]
    assert (image["publisher"], image["offer"], image["sku"]) == ("Canonical", "ubuntu-24_04-lts", "server")
    assert image["version"][:6] == "24.04."
    with pytest.raises(ValidationError, match="image"):
        AzureSettings(operator=OPERATOR, image="Canonical:ubuntu-24_04-lts:server:latest")


def test_each_machine_has_a_system_disk_and_a_data_disk_that_outlives_it() -> None:
    graph, _ = site(os_disk_gb=100, data_disk_gb=200)
    for name in MACHINES:
        storage = graph.of("VirtualMachine")[name]["storageProfile"]
        assert (storage["osDisk"]["diskSizeGB"], storage["osDisk"]["deleteOption"]) == (100, "Delete")
        (data,) = storage["dataDisks"]
        assert (data["lun"], data["managedDisk"]["id"]) == (0, f"/{name}-data")
        assert (data["createOption"], data["deleteOption"]) == ("Attach", "Detach")
        assert graph.of("Disk")[f"{name}-data"]["diskSizeGB"] == 200
    assert site()[0].of("Disk")["worker-1-data"]["diskSizeGB"] == 50


def test_the_data_disk_is_mounted_where_openebs_keeps_volumes_before_any_pod_runs() -> None:
    started = user_data(site()[0], "worker-1")
    assert started["runcmd"][0] == ["/usr/local/sbin/format-data-disk", "/dev/disk/azure/scsi1/lun0"]
    assert started["runcmd"][-1] == ["systemctl", "enable", "--now", "var-openebs-local.mount"]
    files = {file["path"]: file["content"] for file in started["write_files"]}
    mount = files["/etc/systemd/system/var-openebs-local.mount"]
    assert "What=/dev/disk/azure/scsi1/lun0\nWhere=/var/openebs/local\n" in mount
    kubelet = files["/etc/systemd/system/kubelet.service.d/05-data-disk.conf"]
    assert "RequiresMountsFor=/var/openebs/local" in kubelet
    assert files["/usr/local/sbin/format-data-disk"] == FORMAT.read_text()


def test_an_empty_disk_is_formatted_and_one_with_data_is_kept(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8 << 20))
    assert "is formatted" in run_script(disk)
    labelled = disk.read_bytes()
    assert b"openebs" in labelled
    assert "is kept" in run_script(disk)
    assert disk.read_bytes() == labelled


def test_a_disk_that_is_not_there_fails(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_script(tmp_path / "none")


def run_script(disk: Path) -> str:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return subprocess.run(
        [FORMAT, disk], env=os.environ | {"PATH": path}, check=True, capture_output=True, text=True
    ).stdout


def test_each_machine_starts_with_the_host_key_that_is_expected_of_it() -> None:
    graph, told = site()
    expected = [machine["host_key"] for machine in told["machines"].values()]
    given = [user_data(graph, name)["ssh_keys"]["ed25519_public"] for name in MACHINES]
    assert given == expected
    assert len(set(given)) == len(MACHINES)


def test_the_user_logs_in_by_key_alone_which_is_made_unless_given() -> None:
    graph, told = site()
    login = graph.of("VirtualMachine")["worker-1"]["osProfile"]
    assert login["linuxConfiguration"]["disablePasswordAuthentication"] is True
    assert user_data(graph, "worker-1")["ssh_pwauth"] is False
    assert ("SshKey", "user-key") in graph.resources
    assert "PRIVATE KEY" in told["machines"]["worker-1"]["key"]

    own = key_pair()
    graph, told = site(private_key=own["private_key"])
    (key,) = graph.of("VirtualMachine")["worker-1"]["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"]
    assert key == {"keyData": own["public_key"], "path": "/home/azureuser/.ssh/authorized_keys"}
    assert told["machines"]["worker-1"]["key"] == own["private_key"]
    assert ("SshKey", "user-key") not in graph.resources


def test_a_key_that_cannot_be_read_is_refused_without_being_shown() -> None:
    with pytest.raises(SettingsError, match=r"infra:azure\.private_key") as refused:
        site(private_key="-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n")
    assert "c2VjcmV0" not in str(refused.value)


def test_all_machines_have_the_managed_identity() -> None:
    identities = [vm["identity"] for vm in site()[0].of("VirtualMachine").values()]
    assert identities == [{"type": "UserAssigned", "userAssignedIdentities": ["/identity"]}] * len(MACHINES)


def test_everything_that_can_have_tags_has_them() -> None:
    graph, _ = site(tags={"cost-centre": "4711"}, registry=True, storage="datasets", bastion=True)
    without = {"Subnet", "SshKey", "ScopeMap", "Token", "AzureTokenPassword", "BlobContainer"}
    tags = {key: inputs.get("tags") for key, inputs in graph.resources.items() if key[0] not in without}
    wanted = {"project": "mlplatform", "stack": "production", "cost-centre": "4711"}
    assert tags == dict.fromkeys(tags, wanted)
    assert len(tags) > 10


def test_behind_a_bastion_no_other_machine_has_a_public_address() -> None:
    graph, told = site(bastion=True)
    assert graph.of("PublicIPAddress").keys() == {"bastion-address", "gateway-address"}
    public = {
        name: "publicIPAddress" in interface["ipConfigurations"][0]
        for name, interface in graph.of("NetworkInterface").items()
    }
    assert [name for name, has in public.items() if has] == ["bastion-interface"]
    assert told["bastion"]["address"] == "ip-of-bastion-address"
    assert told["bastion"]["host_key"] == user_data(graph, "bastion")["ssh_keys"]["ed25519_public"]
    assert {machine["public_address"] for machine in told["machines"].values()} == set(MACHINES.values())


def test_machines_behind_a_bastion_get_out_by_a_gateway_and_their_api_is_passed_on() -> None:
    graph, told = site(bastion=True)
    assert graph.of("Subnet")["subnet"]["natGateway"] == {"id": "/gateway"}
    assert "natGateway" not in site()[0].of("Subnet")["subnet"]
    units = {file["path"].split("/")[-1]: file["content"] for file in user_data(graph, "bastion")["write_files"]}
    assert "ListenStream=6443" in units["kubernetes-api.socket"]
    assert "10.30.0.10:6443" in units["kubernetes-api.service"]
    assert told["endpoint"] == "production-bastion.cloudapp.azure.com"
    with pytest.raises(ValidationError, match="services_from"):
        AzureSettings(operator=OPERATOR, bastion=True, services_from=["0.0.0.0/0"])


def test_the_registry_has_a_token_that_only_pulls_and_one_for_who_builds() -> None:
    graph, told = site(registry=True)
    assert graph.of("Registry")["registry"]["adminUserEnabled"] is False
    scopes = {
        name: {action.split("/")[-1] for action in scope["actions"]} for name, scope in graph.of("ScopeMap").items()
    }
    assert scopes == {"nodes": {"read"}, "builder": {"read", "write"}}
    assert {name: token["scopeMapId"] for name, token in graph.of("Token").items()} == {
        "nodes": "/nodes",
        "builder": "/builder",
    }
    assert told["registry"] == {
        "host": "registry.azurecr.io",
        "pull": ["nodes-azure", "nodes-password"],
        "push": ["builder-azure", "builder-password"],
    }
    assert not site()[0].of("Registry")


def test_the_storage_is_private() -> None:
    graph, told = site(storage="datasets")
    (account,) = graph.of("StorageAccount").values()
    assert account["allowBlobPublicAccess"] is False
    assert account["enableHttpsTrafficOnly"] is True
    assert account["minimumTlsVersion"] == "TLS1_2"
    assert graph.of("BlobContainer")["datasets"]["publicAccess"] == "None"
    assert told["storage"] == {"url": "https://datasets.blob.core.windows.net", "key": "account-key"}
    assert not site()[0].of("StorageAccount")


def test_images_are_pushed_and_data_uploaded_with_what_the_stack_has_made() -> None:
    def program() -> Any:
        from mlplatform.blob_store import blob_store
        from mlplatform.images.image import LIBRARIES, Image
        from mlplatform.k8s.pull_secret import pull_secret

        from infra.azure.site import azure_site

        made = azure_site(AzureSettings(operator=OPERATOR, registry=True, storage="measurements"), "production")
        assert made.registry
        Image(LIBRARIES, made.registry)
        pull_secret("pull", "default", made.registry, pulumi.ResourceOptions())
        uploads = BlobSettings(upload={"iris.csv": "workloads/data/iris.csv"})
        blob_store(uploads, None, Path("/nowhere"), made.storage)

    graph, _ = run(program)
    (image,) = graph.of("Image").values()
    assert (image["username"], rpc.unwrap_rpc_secret(image["password"])) == ("builder-azure", "builder-password")
    shown = rpc.unwrap_rpc_secret(graph.of("Secret")["pull"]["stringData"])[".dockerconfigjson"]
    assert base64.b64decode(json.loads(shown)["auths"]["registry.azurecr.io"]["auth"]) == b"nodes-azure:nodes-password"
    (blob,) = graph.of("Blob").values()
    assert (blob["account_url"], blob["container"]) == ("https://datasets.blob.core.windows.net", "measurements")


def test_keys_that_are_given_or_asked_for_are_secret() -> None:
    def program() -> Any:
        from infra.azure.site import azure_site

        made = azure_site(
            AzureSettings(operator=OPERATOR, storage="datasets", private_key=key_pair()["private_key"]), "given"
        )
        assert made.storage
        secrets = [made.storage.account_key, made.machines[0].key]
        return pulumi.Output.all(*(pulumi.Output.from_input(output.is_secret()) for output in secrets))

    assert run(program)[1] == [True, True]
