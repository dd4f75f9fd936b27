"""Machines in Azure: one control plane and workers, with network, registry and storage.

The SDK takes seconds to import, so only a stack that uses Azure imports this module.
"""

from __future__ import annotations

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
from settings.errors import SettingsError
from settings.infra import AzureSettings

BASTION_SIZE = "Standard_B1s"


class AzureSite(pulumi.ComponentResource):
    """Machines in a virtual network, with a registry and a storage account if the settings have them.

    Attributes:
        machines: the control plane first; machine names are node names.
        endpoint: DNS name at which the operator reaches the API server: the control plane's, or the bastion's.

    Raises:
        SettingsError: the private key cannot be read, or the operator's address is one for documentation and this is
            not a preview.
    """

    machines: list[Machine]
    endpoint: pulumi.Output[str]
    registry: ContainerRegistry | None
    storage: BlobAccount | None

    def __init__(
        self, name: str, *, settings: AzureSettings, stack: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlplatform:infra:AzureSite", name, None, opts)
        key, authorized_key = _user_key(settings, self)
        context = azure_context(settings, stack, self)
        defaults = VmDefaults(
            context=context,
            network=virtual_network(context),
            identity=managedidentity.UserAssignedIdentity("identity", **context.common),
            authorized_key=authorized_key,
        )
        front_name = "bastion" if settings.bastion else "control-plane"
        front = public_address(f"{front_name}-address", context, label=f"{stack}-{front_name}")
        bastion = _bastion(defaults, front, key) if settings.bastion else None
        self.machines = []
        for index in range(1 + settings.workers):
            machine_name = f"worker-{index}" if index else "control-plane"
            public = None if bastion else front
            if index and public:
                public = public_address(f"{machine_name}-address", context, label=f"{stack}-{machine_name}")
            self.machines.append(_node(machine_name, FIRST_NODE + index, defaults, key, public, bastion))
        self.endpoint = front.dns_settings.apply(lambda dns: (dns and dns.fqdn) or "")
        self.registry = azure_registry(context) if settings.registry else None
        self.storage = azure_storage(settings.storage, context) if settings.storage else None
        self.register_outputs({})


def _node(
    name: str,
    position: int,
    defaults: VmDefaults,
    key: pulumi.Output[str],
    public: network.PublicIPAddress | None,
    bastion: Bastion | None,
) -> Machine:
    """Create a machine of the cluster at a position of the subnet, reached at `public` or else through `bastion`."""
    address = str(defaults.network.addresses[position])
    host_key = SshKey(f"{name}-host-key", pulumi.ResourceOptions(parent=defaults.context.component))
    machine = virtual_machine(
        name,
        defaults,
        size=defaults.context.settings.size,
        address=address,
        public=public,
        host_key=host_key,
        user_data=host_key.private_key.apply(cloud_init.node_user_data),
        data_disk=empty_disk(f"{name}-data", defaults.context),
    )
    return Machine(
        name=name,
        role="control-plane" if position == FIRST_NODE else "worker",
        public_address=public.ip_address.apply(str) if public else address,
        private_address=address,
        user=defaults.context.settings.user,
        key=key,
        host_key=host_key.public_key,
        bastion=bastion,
        resource=machine,
        depends_on=[machine],
    )


def _bastion(defaults: VmDefaults, public: network.PublicIPAddress, key: pulumi.Output[str]) -> Bastion:
    """Create the bastion, which also forwards the operator's requests to the API server."""
    host_key = SshKey("bastion-host-key", pulumi.ResourceOptions(parent=defaults.context.component))
    control_plane = str(defaults.network.addresses[FIRST_NODE])
    virtual_machine(
        "bastion",
        defaults,
        size=BASTION_SIZE,
        address=str(defaults.network.addresses[BASTION]),
        public=public,
        host_key=host_key,
        user_data=host_key.private_key.apply(lambda private: cloud_init.bastion(private, control_plane)),
    )
    return Bastion(
        address=public.ip_address.apply(str),
        user=defaults.context.settings.user,
        key=key,
        host_key=host_key.public_key,
    )


def _user_key(settings: AzureSettings, component: pulumi.Resource) -> tuple[pulumi.Output[str], pulumi.Input[str]]:
    """Return the private key of the machines' user, secret, and its public key."""
    if not settings.private_key and not settings.private_key_file:
        generated = SshKey("user-key", pulumi.ResourceOptions(parent=component))
        return generated.private_key, generated.public_key
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
            f"infra:azure.private_key: {error}; set an RSA or Ed25519 key in OpenSSH's or PEM format, without a "
            "passphrase"
        ) from None
    return pulumi.Output.secret(text), encoded.decode()
