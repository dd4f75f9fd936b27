"""A virtual machine of Azure with one network interface, and a disk for data."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import compute, managedidentity, network

from infra.azure.context import AzureContext
from infra.azure.virtual_network import VirtualNetwork
from infra.secrets import SshKey

SYSTEM_DISK = "Premium_LRS"
"""etcd waits for the disk at each write. A standard disk is slow enough to cause leader elections."""
DATA_DISK = "StandardSSD_LRS"


@dataclass(frozen=True)
class VmDefaults:
    """Values that all machines of a stack share."""

    context: AzureContext
    network: VirtualNetwork
    identity: managedidentity.UserAssignedIdentity
    authorized_key: pulumi.Input[str]
    """The public key that may log in as the settings' user."""


def virtual_machine(
    name: str,
    defaults: VmDefaults,
    *,
    size: str,
    address: str,
    public: network.PublicIPAddress | None,
    host_key: SshKey,
    user_data: pulumi.Output[str],
    data_disk: compute.Disk | None = None,
    pool: pulumi.Input[str] | None = None,
    zone: int | None = None,
) -> compute.VirtualMachine:
    """Create a machine at `address` in the network, and at `public` if that is given.

    Args:
        name: of the machine and its host name.
        defaults: shared values.
        size: Azure's name of the size.
        address: private IPv4 address.
        public: public address, if the machine has one.
        host_key: the machine's SSH key. Another key replaces the machine.
        user_data: cloud-init's document.
        data_disk: disk to attach.
        pool: Azure's id of the pool of a load balancer.
        zone: availability zone; None leaves the choice to Azure.
    """
    interface = network.NetworkInterface(
        f"{name}-interface",
        ip_configurations=[
            network.NetworkInterfaceIPConfigurationArgs(
                name="primary",
                subnet=network.SubnetArgs(id=defaults.network.subnet),
                private_ip_allocation_method="Static",
                private_ip_address=address,
                public_ip_address=network.PublicIPAddressArgs(id=public.id) if public else None,
                load_balancer_backend_address_pools=[network.BackendAddressPoolArgs(id=pool)] if pool else None,
            )
        ],
        **defaults.context.common,
    )
    lifecycle = pulumi.ResourceOptions(
        delete_before_replace=True,
        # User data is read at the first start only, and Azure rejects changes of it. Ignoring them prevents a new
        # release of this program from replacing machines. A new host key must replace one, or SSH would reject it.
        # A machine stays in its zone, as does its data disk.
        ignore_changes=["osProfile.customData", "zones"],
        replacement_trigger=host_key.public_key,
    )
    return compute.VirtualMachine(
        name,
        hardware_profile=compute.HardwareProfileArgs(vm_size=size),
        identity=compute.VirtualMachineIdentityArgs(
            type=compute.ResourceIdentityType.USER_ASSIGNED, user_assigned_identities=[defaults.identity.id]
        ),
        network_profile=compute.NetworkProfileArgs(
            network_interfaces=[compute.NetworkInterfaceReferenceArgs(id=interface.id, primary=True)]
        ),
        os_profile=_login(name, defaults, user_data),
        storage_profile=_disks(defaults, data_disk),
        zones=zones(zone),
        **defaults.context.common | {"opts": pulumi.ResourceOptions.merge(defaults.context.opts, lifecycle)},
    )


def zones(zone: int | None) -> list[str] | None:
    """Return a zone as arguments of resources have it."""
    return [str(zone)] if zone else None


def empty_disk(name: str, context: AzureContext, zone: int | None) -> compute.Disk:
    """Create an empty data disk. It is a separate resource, so a replaced machine passes it on to its successor.

    Another zone in the settings does not replace it, which would lose its data.
    """
    kept = pulumi.ResourceOptions(ignore_changes=["zones"])
    return compute.Disk(
        name,
        sku=compute.DiskSkuArgs(name=DATA_DISK),
        creation_data=compute.CreationDataArgs(create_option="Empty"),
        disk_size_gb=context.settings.data_disk_gb,
        network_access_policy="DenyAll",
        public_network_access="Disabled",
        zones=zones(zone),
        **context.common | {"opts": pulumi.ResourceOptions.merge(context.opts, kept)},
    )


def _login(name: str, defaults: VmDefaults, user_data: pulumi.Output[str]) -> compute.OSProfileArgs:
    user = defaults.context.settings.user
    key = compute.SshPublicKeyArgs(key_data=defaults.authorized_key, path=f"/home/{user}/.ssh/authorized_keys")
    return compute.OSProfileArgs(
        computer_name=name,
        admin_username=user,
        custom_data=user_data.apply(lambda text: base64.b64encode(text.encode()).decode()),
        linux_configuration=compute.LinuxConfigurationArgs(
            disable_password_authentication=True, ssh=compute.SshConfigurationArgs(public_keys=[key])
        ),
    )


def _disks(defaults: VmDefaults, data_disk: compute.Disk | None) -> compute.StorageProfileArgs:
    publisher, offer, sku, version = defaults.context.settings.image.split(":")
    attached = data_disk and compute.DataDiskArgs(
        create_option="Attach",
        lun=0,
        caching=compute.CachingTypes.NONE,
        delete_option="Detach",
        managed_disk=compute.ManagedDiskParametersArgs(id=data_disk.id),
    )
    return compute.StorageProfileArgs(
        image_reference=compute.ImageReferenceArgs(publisher=publisher, offer=offer, sku=sku, version=version),
        os_disk=compute.OSDiskArgs(
            create_option="FromImage",
            caching=compute.CachingTypes.READ_WRITE,
            delete_option="Delete",
            disk_size_gb=defaults.context.settings.os_disk_gb,
            managed_disk=compute.ManagedDiskParametersArgs(storage_account_type=SYSTEM_DISK),
        ),
        data_disks=[attached] if attached else None,
    )
