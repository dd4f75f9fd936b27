"""Machines in Azure: control planes and workers, with network, registry and storage.

The SDK takes seconds to import, so only a stack that uses Azure imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_azure_native import managedidentity, network

from infra.azure import cloud_init
from infra.azure.api_load_balancer import api_load_balancer
from infra.azure.context import AzureContext, azure_context
from infra.azure.services import azure_registry, azure_storage
from infra.azure.virtual_machine import VmDefaults, empty_disk, virtual_machine
from infra.azure.virtual_network import BASTION, FIRST_NODE, public_address, virtual_network
from infra.blob_account import BlobAccount
from infra.machine import Bastion, Machine
from infra.registry import ContainerRegistry
from infra.secrets import SshKey
from settings.errors import SettingsError
from settings.machines.azure_settings import AzureSettings

BASTION_SIZE = "Standard_B1s"
FIRST_CONTROL_PLANE = "control-plane"


@dataclass(frozen=True)
class Place:
    """Name of a machine, its position in the subnet, and its availability zone; None leaves that to Azure."""

    name: str
    position: int
    zone: int | None

    @property
    def is_control_plane(self) -> bool:
        """Return True for a machine with a control plane."""
        return self.position <= FIRST_NODE


class AzureSite(pulumi.ComponentResource):
    """Machines in a virtual network, with a registry and a storage account if the settings have them.

    Attributes:
        machines: the control planes first; machine names are node names.
        endpoint: DNS name at which the operator reaches the API server: the control plane's, or the bastion's. With
            several control planes it is the load balancer's, which the machines use, too.

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
        places, several = _places(settings), settings.control_planes > 1
        public, gateway = _public_addresses(places, context, stack)
        api_clients = [gateway] if gateway else list(public.values())
        defaults = VmDefaults(
            context=context,
            network=virtual_network(context, gateway, api_clients if several else []),
            identity=managedidentity.UserAssignedIdentity("identity", **context.common),
            authorized_key=authorized_key,
        )
        bastion, front = None, public.get(FIRST_CONTROL_PLANE)
        if settings.bastion:
            front = public_address("bastion-address", context, label=f"{stack}-bastion")
            api_server = None if several else str(defaults.network.addresses[FIRST_NODE])
            bastion = _bastion(defaults, front, key, api_server)
        pool = None
        if several:
            front = public_address("api-address", context, label=f"{stack}-api")
            pool = api_load_balancer(context, front)
        assert front
        self.machines = [
            _node(place, defaults, key, public.get(place.name), bastion, pool if place.is_control_plane else None)
            for place in places
        ]
        self.endpoint = front.dns_settings.apply(lambda dns: (dns and dns.fqdn) or "")
        self.registry = azure_registry(context) if settings.registry else None
        self.storage = azure_storage(settings.storage, context) if settings.storage else None
        self.register_outputs({})


def _places(settings: AzureSettings) -> list[Place]:
    """Return the control planes and then the workers. Another number of either leaves the others where they are."""

    def place(name: str, position: int, index: int) -> Place:
        zone = settings.zones[index % len(settings.zones)] if settings.zones else None
        return Place(name, position, zone)

    others = range(1, settings.control_planes)
    return [
        place(FIRST_CONTROL_PLANE, FIRST_NODE, 0),
        *(place(f"{FIRST_CONTROL_PLANE}-{index + 1}", FIRST_NODE - index, index) for index in others),
        *(place(f"worker-{index}", FIRST_NODE + index, index) for index in range(1, settings.workers + 1)),
    ]


def _public_addresses(
    places: Sequence[Place], context: AzureContext, stack: str
) -> tuple[dict[str, network.PublicIPAddress], network.PublicIPAddress | None]:
    """Return the addresses of the machines by name, and that of their gateway: behind a bastion, they have none."""
    if context.settings.bastion:
        return {}, public_address("gateway-address", context)
    names = [place.name for place in places]
    return {name: public_address(f"{name}-address", context, label=f"{stack}-{name}") for name in names}, None


def _node(
    place: Place,
    defaults: VmDefaults,
    key: pulumi.Output[str],
    public: network.PublicIPAddress | None,
    bastion: Bastion | None,
    pool: pulumi.Input[str] | None,
) -> Machine:
    """Create a machine of the cluster, reached at `public` or else through `bastion`. `pool` is its load balancer's."""
    name, address = place.name, str(defaults.network.addresses[place.position])
    host_key = SshKey(f"{name}-host-key", pulumi.ResourceOptions(parent=defaults.context.component))
    machine = virtual_machine(
        name,
        defaults,
        size=defaults.context.settings.size,
        address=address,
        public=public,
        host_key=host_key,
        user_data=host_key.private_key.apply(cloud_init.node_user_data),
        data_disk=empty_disk(f"{name}-data", defaults.context, place.zone),
        pool=pool,
        zone=place.zone,
    )
    return Machine(
        name=name,
        role="control-plane" if place.is_control_plane else "worker",
        public_address=public.ip_address.apply(str) if public else address,
        private_address=address,
        user=defaults.context.settings.user,
        key=key,
        host_key=host_key.public_key,
        bastion=bastion,
        resource=machine,
        depends_on=[machine],
    )


def _bastion(
    defaults: VmDefaults, public: network.PublicIPAddress, key: pulumi.Output[str], api_server: str | None
) -> Bastion:
    """Create the bastion, which also forwards the operator's requests to `api_server` if that is given."""
    host_key = SshKey("bastion-host-key", pulumi.ResourceOptions(parent=defaults.context.component))
    virtual_machine(
        "bastion",
        defaults,
        size=BASTION_SIZE,
        address=str(defaults.network.addresses[BASTION]),
        public=public,
        host_key=host_key,
        user_data=host_key.private_key.apply(lambda private: cloud_init.bastion(private, api_server)),
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
