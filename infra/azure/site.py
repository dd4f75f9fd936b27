"""Machines in Azure: one control plane, workers, and what they stand in.

The SDK takes seconds to load, so only a stack that uses Azure imports this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_azure_native import managedidentity, network

from infra.azure import cloud_init
from infra.azure.context import azure_context
from infra.azure.services import azure_registry, azure_storage
from infra.azure.virtual_machine import VmDefaults, empty_disk, virtual_machine
from infra.azure.virtual_network import BASTION, FIRST_NODE, public_address, virtual_network
from infra.blob_account import BlobAccount
from infra.machine import Bastion, Machine
from infra.registry import ContainerRegistry
from infra.secrets import SshKey
from settings.infra import AzureSettings
from settings.types import SettingsError

BASTION_SIZE = "Standard_B1s"


@dataclass(frozen=True)
class Site:
    """What a stack has in Azure.

    `endpoint` is the DNS name by which the operator reaches the API server: the control plane's, or the bastion's.
    """

    machines: list[Machine]
    endpoint: pulumi.Output[str]
    registry: ContainerRegistry | None
    storage: BlobAccount | None


def azure_site(settings: AzureSettings, stack: str) -> Site:
    """The machines of `settings`, named as their nodes, with registry and storage where these are asked for.

    Raises:
        SettingsError: the operator's address is one for documentation and this is no preview, or the given private key
            cannot be read.
    """
    key, authorized_key = _user_key(settings)
    place = azure_context(settings, stack)
    plan = VmDefaults(
        place=place,
        network=virtual_network(place),
        identity=managedidentity.UserAssignedIdentity("identity", **place.common),
        authorized_key=authorized_key,
    )
    front_name = "bastion" if settings.bastion else "control-plane"
    front = public_address(f"{front_name}-address", place, label=f"{stack}-{front_name}")
    bastion = _bastion(plan, front, key) if settings.bastion else None
    machines = []
    for index in range(1 + settings.workers):
        name = f"worker-{index}" if index else "control-plane"
        public = None if bastion else front
        if index and public:
            public = public_address(f"{name}-address", place, label=f"{stack}-{name}")
        machines.append(_node(name, FIRST_NODE + index, plan, key, public, bastion))
    return Site(
        machines=machines,
        endpoint=front.dns_settings.apply(lambda dns: (dns and dns.fqdn) or ""),
        registry=azure_registry(place) if settings.registry else None,
        storage=azure_storage(settings.storage, place) if settings.storage else None,
    )


def _node(
    name: str,
    position: int,
    plan: VmDefaults,
    key: pulumi.Output[str],
    public: network.PublicIPAddress | None,
    bastion: Bastion | None,
) -> Machine:
    """A machine of the cluster at that position of the subnet, reached at `public` or else through `bastion`."""
    address = str(plan.network.addresses[position])
    host_key = SshKey(f"{name}-host-key")
    machine = virtual_machine(
        name,
        plan,
        size=plan.place.settings.size,
        address=address,
        public=public,
        host_key=host_key,
        user_data=host_key.private_key.apply(cloud_init.node),
        data_disk=empty_disk(f"{name}-data", plan.place),
    )
    return Machine(
        name=name,
        role="control-plane" if position == FIRST_NODE else "worker",
        public_address=public.ip_address.apply(str) if public else address,
        private_address=address,
        user=plan.place.settings.user,
        key=key,
        host_key=host_key.public_key,
        bastion=bastion,
        resource=machine,
        depends_on=[machine],
    )


def _bastion(plan: VmDefaults, public: network.PublicIPAddress, key: pulumi.Output[str]) -> Bastion:
    """The machine in front of the others, which also passes the operator's requests on to the API server."""
    host_key = SshKey("bastion-host-key")
    control_plane = str(plan.network.addresses[FIRST_NODE])
    virtual_machine(
        "bastion",
        plan,
        size=BASTION_SIZE,
        address=str(plan.network.addresses[BASTION]),
        public=public,
        host_key=host_key,
        user_data=host_key.private_key.apply(lambda private: cloud_init.bastion(private, control_plane)),
    )
    return Bastion(
        address=public.ip_address.apply(str),
        user=plan.place.settings.user,
        key=key,
        host_key=host_key.public_key,
    )


def _user_key(settings: AzureSettings) -> tuple[pulumi.Output[str], pulumi.Input[str]]:
    """The private key of the machines' user, secret, and its public half."""
    if not settings.private_key and not settings.private_key_file:
        made = SshKey("user-key")
        return made.private_key, made.public_key
    from cryptography.hazmat.primitives import serialization

    try:
        if settings.private_key:
            text = settings.private_key.get_secret_value()
        else:
            text = Path(str(settings.private_key_file)).expanduser().read_text()
        load = serialization.load_ssh_private_key if "OPENSSH" in text else serialization.load_pem_private_key
        public = load(text.encode(), password=None).public_key()
        encoded = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    except (OSError, TypeError, ValueError) as error:
        raise SettingsError(
            f"infra:azure.private_key: {error}; it takes an RSA or Ed25519 key in OpenSSH's or PEM format, without a "
            "passphrase"
        ) from None
    return pulumi.Output.secret(text), encoded.decode()
